# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The agents reach the service by TLS, with a certificate on either side, by neutron's own options."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .agents import Upstream
from .cloud import Cloud, Tenants
from .peers import LOCKS
from .ports import free_port
from .service import Service


@pytest.fixture
def certificates(cloud: Cloud, tmp_path: Path) -> Path:
    """A directory with an authority, and a server and a client that it has signed."""
    script = LOCKS / "scripts" / "certificates.py"
    subprocess.run([cloud.agents["new"].python, script, tmp_path], env=cloud.run.environment(), check=True)
    return tmp_path


@pytest.fixture
def port(cloud: Cloud, certificates: Path) -> Iterator[int]:
    """Where a service listens that wants to see a client's certificate."""
    port = free_port()
    options = {
        "listen_tls": f"127.0.0.1:{port}",
        "ssl_cert_file": certificates / "server.pem",
        "ssl_key_file": certificates / "server.key",
        "ssl_ca_file": certificates / "ca.pem",
    }
    service = Service(cloud.run, cloud.nova, "peerdata-tls", {"instance_api": options})
    service.start()
    yield port
    service.kill()


def test_an_agent_with_a_certificate_is_let_in_and_one_without_is_not(
    cloud: Cloud, tenants: Tenants, port: int, certificates: Path
) -> None:
    url, ca_cert = f"https://127.0.0.1:{port}", str(certificates / "ca.pem")
    guests = (tenants.a_old[0], tenants.a_new[0])

    cloud.board.send_to(Upstream(url, ca_cert))
    assert [guest.publish(k="v").status for guest in guests] == [503, 503]

    cloud.board.send_to(Upstream(url, ca_cert, str(certificates / "client.pem"), str(certificates / "client.key")))
    assert [guest.publish(k="v").status for guest in guests] == [200, 200]
    assert [peer["uuid"] for peer in tenants.a_old[1].shared()] == [guest.uuid for guest in guests]
