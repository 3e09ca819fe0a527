# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The `ip` command, of this machine or unpacked beside the servers, and whether it may make namespaces here."""

import os
import subprocess

from . import Programs


def ip(*arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `ip`, whatever comes of it; FileNotFoundError where there is none."""
    programs = Programs.default()
    return subprocess.run(
        [programs.tool("ip") or "ip", *arguments],
        env=os.environ | programs.environment(),
        input=stdin,
        capture_output=True,
        text=True,
    )


def why_not() -> str:
    """Why this machine cannot have namespaces that are joined by a bridge; "" where it can."""
    if os.geteuid():
        return "network namespaces need root"
    name = f"pdd{os.getpid()}-probe"
    try:
        made = ip("netns", "add", name)
        for kind in ("v0 type veth peer name v1", "b0 type bridge"):
            if not made.returncode:
                made = ip("-n", name, "link", "add", *kind.split())
        ip("netns", "delete", name)
    except FileNotFoundError:
        return "there is no ip command (iproute2)"
    return f"network namespaces are not permitted: {made.stderr.strip()}" if made.returncode else ""
