# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The output of a list: its format or template, and where it is written, as the options of a command say.
"""

from __future__ import annotations

import os
from argparse import Namespace
from typing import NamedTuple, TextIO

from peerdata.guest import errors, files, formats
from peerdata.guest.errors import Misused
from peerdata.guest.formats.nodes import Options, View
from peerdata.guest.model import Peer, Verdict
from peerdata.guest.progress import warn


class Output(NamedTuple):
    """What --format, --template, --out and --reload ask for."""

    format: str
    """Empty: none."""
    template: str
    """The path of a template to use instead of a format; empty: none."""
    path: str
    """The file to write; empty: print."""
    reload: str
    """The command to run when the file has changed; empty: none."""
    options: Options

    @classmethod
    def from_arguments(cls, arguments: Namespace, *, prefix: str) -> Output:
        """Read the options that `commands.options.add_output` adds; *prefix* begins the keys of interest."""
        return cls(
            arguments.format,
            arguments.template or "",
            arguments.out or "",
            arguments.reload or "",
            Options(
                prefix,
                arguments.address_key,
                arguments.name_key,
                arguments.port,
                arguments.scheme,
                arguments.domain,
            ),
        )

    @property
    def is_wanted(self) -> bool:
        """Whether a format or a template was given."""
        return bool(self.format or self.template)

    @property
    def needs_addresses(self) -> bool:
        """Whether the output has the address of each peer."""
        return self.is_wanted and self._form.needs_addresses

    @property
    def prints_whole_verdict(self) -> bool:
        """Whether the verdict itself is printed, whatever it is."""
        return self.is_wanted and self._form.whole_verdict and not self.path

    @property
    def _form(self) -> formats.Format:
        return formats.FORMATS[self.format] if self.format else formats.TEMPLATE

    def check(self, *, has_members: bool = False) -> None:
        """
        Check the combination of options, before anything is asked or waited for.

        Args:
            has_members: Whether the list will be that of a cluster's members.

        Raises:
            Misused: the options cannot be used together, or not with this list.
        """
        formats.check_members(self.format, has_members=has_members)
        if self.reload and not self.path:
            raise Misused("--reload runs when a file has changed: name the file with --out")
        if self.path and not self.is_wanted:
            raise Misused("--out needs a --format or a --template")

    def render(self, peers: tuple[Peer, ...], own_uuid: str, err: TextIO, verdict: Verdict | None = None) -> str:
        """
        Write the list as text; warnings go to *err*.

        Raises:
            Unusable: see `formats.render`.
            Misused: the template cannot be read, or is invalid.
        """
        view = View(peers, own_uuid, self.options, verdict, warn=lambda text: warn(err, text))
        if not self.template:
            return formats.render(self.format, view)
        from peerdata.guest.formats import template

        try:
            with open(self.template, encoding="utf-8") as file:
                return template.render(file.read(), view)
        except (OSError, UnicodeDecodeError) as error:
            raise Misused(f"the template {self.template} cannot be read: {error}") from error

    def write(self, text: str, out: TextIO, err: TextIO) -> int:
        """
        Print *text* or write it to the file, and run the reload command if the file changed or a reload is still due.

        Returns:
            The exit code: that of the reload command, as 0 or 1.

        Raises:
            Unusable: the file cannot be written.
        """
        if not self.path:
            out.write(text)
            return errors.DONE
        if not self.reload:
            files.write_if_changed(self.path, text)
            return errors.DONE
        mark = files.mark_of(self.path)
        if not files.write_if_changed(self.path, text, mark=mark) and not os.path.lexists(mark):
            return errors.DONE
        from peerdata.guest import hooks

        environment = {"PEERDATA_FILE": os.path.abspath(self.path)}
        code = hooks.run(self.reload, lambda problem: warn(err, problem), environment=environment)
        files.set_mark(mark, due=code != errors.DONE)
        return code
