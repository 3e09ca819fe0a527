# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Nova: a real nova-metadata-api under uWSGI with SQLite databases of its own, and a desk that makes its instances.

Unmodified and told by configuration alone: what it asks neutron for, the
security groups of a port, it asks a small server here.
"""

import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .peers import LOCKS, Peers
from .ports import answers, free_port
from .run import Run, kill, until

# Nova answers from its cache for so long (nova's own default is 15 s): short, so that tests need not wait for it.
CACHE_S = 1

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHHXQ0rGlKCsIjmYpzGGnRLA5DIbPcDUQHyMQbEhWNQX owner"
VENDOR_DATA = {"vendor": {"cloud": "chain", "ntp": ["192.0.2.1"]}}


@dataclass(frozen=True)
class Instance:
    """An instance as nova is told of it."""

    project: str
    name: str
    network: str
    cidr: str
    gateway: str
    address: str
    mac: str
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    port: str = field(default_factory=lambda: str(uuid.uuid4()))
    metadata: Mapping[str, str] = field(default_factory=dict)
    user_data: str | None = None
    key_name: str = "owner-key"
    public_key: str = PUBLIC_KEY


class Nova:
    """The metadata service at `url`; `stop` and `start` keep the port and the databases."""

    def __init__(self, run: Run, peers: Peers, secret: str) -> None:
        self.secret = secret
        self.port = free_port()
        self.log = run.log("nova")
        self._run = run
        self._peers = peers
        self._groups = _SecurityGroups()
        self._place = run.directory / "nova"
        self._server: subprocess.Popen[str] | None = None
        self._at_the_desk = threading.Lock()
        shutil.copytree(peers.nova_databases, self._place)
        (self._place / "nova.conf").write_text(self._settings())
        (self._place / "vendor_data.json").write_text(json.dumps(VENDOR_DATA))
        self._desk = self._run.start(
            "nova-desk",
            [str(peers.python("nova")), str(LOCKS / "scripts" / "nova_desk.py"), str(self._place / "nova.conf")],
            conversation=True,
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, or start it again; return before it answers (see `wait`)."""
        # One process, because nova's cache is one of each process; --http-socket is uWSGI's plain HTTP/1.1.
        options = ["--master", "--processes=1", "--threads=8", "--die-on-term", "--need-app", "--buffer-size=65535"]
        self._server = self._run.start(
            "nova",
            [
                str(self._peers.python("nova").with_name("pyuwsgi")),
                f"--http-socket=127.0.0.1:{self.port}",
                "--module=nova.wsgi.metadata:application",
                *options,
            ],
            environment=self.application_environment(),
        )

    def application_environment(self) -> dict[str, str]:
        """By which nova's WSGI application finds its configuration, under whatever server."""
        return {
            "OS_NOVA_CONFIG_DIR": str(self._place),
            "OS_NOVA_CONFIG_FILES": f"{self._peers.root}/nova/etc/nova/api-paste.ini;nova.conf",
        }

    def wait(self) -> None:
        """Return once it answers."""
        until("nova answers", lambda: answers(self.port))

    def slow_down(self, neutron_s: float) -> None:
        """From now on neutron takes so long for each answer to nova, which asks it for what it has not in its cache."""
        self._groups.takes_s = neutron_s

    def stop(self) -> None:
        """Stop answering; connections are refused from now on."""
        if self._server:
            kill(self._server)
            self._server = None

    def pause(self) -> None:
        """Let it hang: it accepts connections and answers nothing, until `resume`."""
        assert self._server, "it does not run"
        os.killpg(self._server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._server, "it does not run"
        os.killpg(self._server.pid, signal.SIGCONT)

    def close(self) -> None:
        """End everything that belongs to it."""
        self.stop()
        kill(self._desk)
        self._groups.shutdown()

    def create(self, instances: Sequence[Instance]) -> None:
        """Make the instances, active and with their port, as nova's own objects."""
        self._order(do="create", instances=[asdict(instance) for instance in instances])

    def delete(self, *uuids: str) -> None:
        """Delete instances. What nova has in its cache it still answers for `CACHE_S`."""
        self._order(do="delete", uuids=uuids)

    def set_metadata(self, instance_uuid: str, metadata: Mapping[str, str]) -> None:
        """Replace the owner's metadata of an instance, as `openstack server set --property` does."""
        self._order(do="metadata", uuid=instance_uuid, metadata=dict(metadata))

    def headers(self, instance: Instance) -> dict[str, str]:
        """The headers by which neutron proves the instance to nova."""
        signature = hmac.new(self.secret.encode(), instance.uuid.encode(), hashlib.sha256).hexdigest()
        return {
            "X-Forwarded-For": instance.address,
            "X-Instance-ID": instance.uuid,
            "X-Tenant-ID": instance.project,
            "X-Instance-ID-Signature": signature,
        }

    def _order(self, **order: object) -> None:
        assert self._desk.stdin
        assert self._desk.stdout
        with self._at_the_desk:
            self._desk.stdin.write(json.dumps(order) + "\n")
            self._desk.stdin.flush()
            answer = json.loads(self._desk.stdout.readline() or '{"error": "it ended; see its log"}')
        if "error" in answer:
            raise RuntimeError(f"nova's desk: {answer['error']}")

    def _settings(self) -> str:
        place = self._place
        return f"""
[DEFAULT]
host = metadata
state_path = {place}
transport_url = fake:/
[api_database]
connection = sqlite:///{place}/api.sqlite
[database]
connection = sqlite:///{place}/cell1.sqlite
[oslo_concurrency]
lock_path = {place}
[api]
metadata_cache_expiration = {CACHE_S}
vendordata_jsonfile_path = {place}/vendor_data.json
[neutron]
service_metadata_proxy = true
metadata_proxy_shared_secret = {self.secret}
auth_type = none
endpoint_override = http://127.0.0.1:{self._groups.server_port}
"""


class _SecurityGroups(ThreadingHTTPServer):
    """All that nova asks neutron for when it answers for an instance: every port is in the group `default`."""

    daemon_threads = True
    request_queue_size = 128
    takes_s = 0.0
    """For each answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SecurityGroupsHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _SecurityGroupsHandler(BaseHTTPRequestHandler):
    server: _SecurityGroups

    def do_GET(self) -> None:
        time.sleep(self.server.takes_s)
        address = urlsplit(self.path)
        asked = parse_qs(address.query)
        group = "5ec00000-0000-4000-8000-000000000001"
        answer: dict[str, object] = {}
        if address.path == "/v2.0/ports":
            ports = [{"device_id": device, "security_groups": [group]} for device in asked.get("device_id", [])]
            answer = {"ports": ports}
        elif address.path == "/v2.0/security-groups":
            answer = {"security_groups": [{"id": group, "name": "default"}]}
        body = json.dumps(answer).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # nova has given up
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: nova's own log tells."""
