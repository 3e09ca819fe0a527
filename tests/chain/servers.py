# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The same nova-metadata-api behind other WSGI servers: gunicorn, and Apache with mod_wsgi, beside uWSGI.

They differ in what a client of nova sees: uWSGI's plain HTTP closes each connection without saying so, gunicorn with
threads keeps one for 2 s, Apache for 5 s and at most 100 requests, and says when it closes.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .nova import Nova
from .peers import Peers
from .ports import answers, free_port
from .run import Run, until

NEEDED = ("gunicorn", "apache")

# Apache's, as Debian ships them. TRACE is off because it echoes a request's headers, down to their case.
_APACHE = """
ServerRoot {place}
PidFile {place}/apache.pid
DefaultRuntimeDir {place}
ServerName nova
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
ErrorLog /dev/stderr
LogLevel warn
TraceEnable off
AllowEncodedSlashes On
KeepAlive On
KeepAliveTimeout 5
MaxKeepAliveRequests 100
WSGISocketPrefix {place}/wsgi
WSGIPythonHome {python}
WSGIDaemonProcess nova home={place} processes=1 threads=8 python-path={packages}
WSGIProcessGroup nova
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {place}/nova.wsgi
<Directory />
    Require all granted
</Directory>
"""


_APPLICATION = "from nova.wsgi.metadata import application\n"


class Upstream(Protocol):
    """A nova to ask: itself under uWSGI, or one of `Front`."""

    @property
    def secret(self) -> str:
        """What it has agreed with the metadata agents."""

    @property
    def url(self) -> str:
        """Where it listens."""


@dataclass(frozen=True)
class Front:
    """Nova's application on its databases, behind another server."""

    name: str
    port: int
    secret: str

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


def start(name: str, run: Run, peers: Peers, nova: Nova) -> Front:
    """Start nova once more behind the server *name*, and return before it answers (see `wait`)."""
    port = free_port()
    place = run.directory / name
    place.mkdir()
    command, more = {"gunicorn": _gunicorn, "apache": _apache}[name](peers, place, port)
    run.start(name, command, environment={**nova.application_environment(), **more})
    return Front(name, port, nova.secret)


def wait(front: Front) -> None:
    """Return once it answers."""
    until(f"nova answers behind {front.name}", lambda: answers(front.port))


def _packages(peers: Peers) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return peers.root / "nova" / "lib" / version / "site-packages"


def _gunicorn(peers: Peers, place: Path, port: int) -> tuple[list[str], Mapping[str, str]]:
    options = [
        "--worker-class=gthread",
        "--workers=1",
        "--threads=8",
        "--keep-alive=2",
        f"--bind=127.0.0.1:{port}",
        "--no-control-socket",
    ]
    # Nova takes the arguments of its process for its own.
    (place / "metadata.py").write_text("import sys\n\nsys.argv[1:] = []\n\n" + _APPLICATION)
    program = [str(peers.python("gunicorn")), "-m", "gunicorn", *options, f"--worker-tmp-dir={place}"]
    return [*program, f"--pythonpath={place}", "metadata:application"], {"PYTHONPATH": str(_packages(peers))}


def _apache(peers: Peers, place: Path, port: int) -> tuple[list[str], Mapping[str, str]]:
    modules = peers.apache.debian / "usr/lib/apache2/modules"
    (place / "nova.wsgi").write_text(_APPLICATION)
    settings = place / "apache.conf"
    settings.write_text(
        _APACHE.format(place=place, port=port, modules=modules, packages=_packages(peers), python="/usr")
    )
    command = [peers.apache.tool("apache2"), "-f", str(settings), "-DFOREGROUND"]
    if os.geteuid() == 0:  # which neither of them runs as: to itself it is www-data, to the files it is who started it
        command = ["unshare", "--user", "--map-user=33", "--map-group=33", *command]
    return command, peers.apache.environment()
