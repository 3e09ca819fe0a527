"""How the process starts, stops and is told things, as an operator sees it."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from peerdata.capacity import files_needed
from peerdata.settings import InstanceApiSettings, Settings

from .conftest import MakeService
from .service import BLUE, GREEN, Service, inventory_text

ROOT = Path(__file__).parents[2]


def test_sigterm_lets_a_running_request_finish(make_service: MakeService) -> None:
    service = make_service()
    body = b'{"meta": {"slow": "1"}}'
    with socket.create_connection(("127.0.0.1", service.port), source_address=("127.0.0.11", 0)) as guest:
        head = f"POST /openstack/latest/metadata HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        guest.sendall(head.encode() + body[:5])
        time.sleep(0.2)
        service.signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(OSError):
            service.connect().connect()
        guest.sendall(body[5:])
        guest.settimeout(5)
        answer = guest.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert service.wait() == 0


def test_sigterm_ends_within_pass_through_timeout_whatever_guests_do(make_service: MakeService) -> None:
    service = make_service({"nova": {"pass_through_timeout": 1}})
    with socket.create_connection(("127.0.0.1", service.port), source_address=("127.0.0.11", 0)) as guest:
        guest.sendall(b"POST /openstack/latest/metadata HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.2)
        service.signal(signal.SIGTERM)
        assert service.wait(10) == 0


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"instance_api": {"lisen": "127.0.0.1:1"}}, r"\[instance_api\] has no option 'lisen'"),
        ({"instanceapi": {"listen": "127.0.0.1:1"}}, r"no section \[instanceapi\]"),
        ({"instance_api": {"listen": "8775"}}, r"'8775' is not host:port"),
        ({"instance_api": {"listen_tls": "127.0.0.1:0"}}, r"needs ssl_cert_file and ssl_key_file"),
        ({"instance_api": {"max_connections": "many"}}, r"\[instance_api\] max_connections = 'many'"),
        ({"nova": {"metadata_url": "http://127.0.0.1:1"}}, r"metadata_proxy_shared_secret is empty"),
        ({"nova": {"metadata_url": "127.0.0.1:1"}}, r"must be http://host:port"),
        ({"identity": {"inventory_file": ""}}, r"nothing says who is asking"),
        ({"identity": {"inventory_file": "/nowhere"}}, r"cannot read '/nowhere'"),
        ({"identity": {"mode": "guess"}}, r"mode"),
        ({"DEFAULT": {"debug": "maybe"}}, r"\[DEFAULT\] debug = 'maybe' in .*: Invalid Boolean value"),
        ({"DEFAULT": {"log_file": "/proc/nowhere/log"}}, r"settings of logging"),
        ({"identity": {"trusted_proxies": "10.0.0.0/99"}}, r"'10\.0\.0\.0/99' is no address or network"),
        ({"database": {"connection": "oracle://x"}}, r"\[database\] connection"),
        ({"database": {"connection": "sqlite:////proc/nowhere/peerdata.sqlite"}}, r"cannot make the file"),
    ],
)
def test_a_setting_that_cannot_work_ends_the_start_with_a_sentence_and_code_2(
    make_service: MakeService, sections: dict[str, dict[str, object]], says: str
) -> None:
    ended = make_service(sections, start=False).run("serve")
    assert ended.returncode == 2
    assert re.search(says, ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_address_that_is_not_to_be_had_ends_the_start_with_a_sentence_and_code_1(make_service: MakeService) -> None:
    """It may be to be had later, unlike a setting that cannot work; so whoever restarts services tries again."""
    running = make_service()
    for address in (f"127.0.0.1:{running.port}", "192.0.2.1:8775"):
        ended = make_service({"instance_api": {"listen": address}}, start=False).run("serve")
        assert ended.returncode == 1
        assert f"cannot listen on {address}" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_sighup_reads_the_inventory_again_and_keeps_the_old_one_where_the_new_is_wrong(
    make_service: MakeService,
) -> None:
    service = make_service()
    assert service.ask("127.0.0.31", "GET", "shared.json").status == 404
    service.inventory.write_text(inventory_text({"blue": BLUE, "red": {"127.0.0.31": GREEN["127.0.0.21"]}}))
    service.signal(signal.SIGHUP)
    _until_logged(service, "read again")
    assert service.ask("127.0.0.31", "GET", "shared.json").json == []
    service.inventory.write_text("instances: [{uuid: no}]")
    service.signal(signal.SIGHUP)
    _until_logged(service, "the old stays in force")
    service.log.write_text("")
    service.config_file.write_text(service.config_file.read_text().replace("[DEFAULT]", "[DEFAULT]\ndebug = maybe"))
    service.signal(signal.SIGHUP)
    _until_logged(service, "the old stays in force")
    assert service.ask("127.0.0.31", "GET", "shared.json").json == []


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("[operator_api]\nlisen = 127.0.0.1:1\n", "[operator_api] has no option 'lisen'"),
        ("[limits]\nmax_wait = 99\n", "[limits] max_wait = '99'"),
        ("[database]\nconnection = oracle://x\n", "[database] connection"),
    ],
)
def test_sighup_checks_settings_as_the_start_does_and_keeps_the_old_where_they_are_wrong(
    make_service: MakeService, added: str, says: str
) -> None:
    service = make_service()
    wrong = service.config_file.read_text().replace("[DEFAULT]", "[DEFAULT]\ndebug = true") + added
    service.config_file.write_text(wrong)
    refused = service.run("serve")
    assert refused.returncode == 2
    assert says in refused.stderr
    service.signal(signal.SIGHUP)
    _until_logged(service, "the old stays in force")
    assert says in service.log.read_text()
    assert " DEBUG " not in service.log.read_text()


def test_sighup_names_settings_that_need_a_restart(make_service: MakeService) -> None:
    service = make_service()
    service.config_file.write_text(service.config_file.read_text() + "[limits]\nmax_wait = 5\n")
    service.signal(signal.SIGHUP)
    _until_logged(service, "in force only after a restart: [limits] max_wait")


def test_it_starts_with_the_arguments_and_the_shared_file_that_openstack_s_services_have(
    make_service: MakeService, tmp_path: Path
) -> None:
    """As kolla's containers do it; and what in the file is other services' is said in one line."""
    shared = tmp_path / "conf.d"
    shared.mkdir()
    (shared / "shared.conf").write_text(
        "[DEFAULT]\ntransport_url = rabbit://x\nrpc_response_timeout = 60\n[keystone_authtoken]\npassword = x\n"
    )
    service = make_service(start=False)
    command = [*service.command("serve"), "--config-dir", str(shared), "--debug", "--log-file", str(service.log)]
    service.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not service.log.exists() or "is ready" not in service.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    told = [line for line in service.log.read_text().splitlines() if " WARNING " in line]
    assert len(told) == 1
    assert "[DEFAULT] transport_url, [DEFAULT] rpc_response_timeout, [keystone_authtoken]" in told[0]


def _until_logged(service: Service, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in service.log.read_text():
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.02)


def test_an_instance_that_the_operator_removed_is_gone_at_once_and_may_publish_anew(make_service: MakeService) -> None:
    service = make_service()
    service.publish("127.0.0.11", key="old")
    service.publish("127.0.0.12", key="1")
    revision = service.ask("127.0.0.12", "GET", "peer_data.json").json["revision"]
    removed = service.run("instance", "remove", BLUE["127.0.0.11"])
    assert removed.returncode == 0, removed
    assert list(service.shared()) == [BLUE["127.0.0.12"]]
    news = service.ask("127.0.0.12", "GET", f"peer_data.json?since={revision}").json
    assert (news["removed"], news["peers"]) == ([BLUE["127.0.0.11"]], [])
    assert service.publish("127.0.0.11", key="new").status == 200
    assert list(service.shared()) == [BLUE["127.0.0.12"], BLUE["127.0.0.11"]]
    assert service.run("instance", "remove", GREEN["127.0.0.21"].upper()).returncode == 1
    assert service.run("instance", "remove", "nobody").returncode == 2
    listed = service.run("instance", "list").stdout.splitlines()
    assert listed == [f"blue {BLUE[address]} 1 shared" for address in ("127.0.0.11", "127.0.0.12")]


@pytest.mark.parametrize("too_few", [False, True])
def test_a_descriptor_limit_under_what_max_connections_needs_is_warned_of_at_the_start(
    make_service: MakeService, too_few: bool
) -> None:
    """With both numbers, and what to set; one more would have been enough."""
    service = make_service({"instance_api": {"max_connections": 300}}, start=False)
    needed = files_needed(Settings(instance_api=InstanceApiSettings(max_connections=300)))
    limit = needed - too_few
    limited = ["sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh", *service.command("serve")]
    with service.log.open("ab") as log:
        service.process = subprocess.Popen(limited, stdout=log, stderr=log)
    _until_logged(service, "is ready")
    warned = [line for line in service.log.read_text().splitlines() if " WARNING " in line]
    assert len(warned) == too_few
    for line in warned:
        assert f"may open {limit} files (RLIMIT_NOFILE), and needs {needed} for " in line
        assert "[instance_api] max_connections = 300" in line
        assert "it serves 299 connections at once" in line
        assert f"LimitNOFILE={needed}" in line


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    An authority, a server's certificate for 127.0.0.1 and ::1, and a client's; and a stranger's, of another authority.
    """
    place = tmp_path_factory.mktemp("certificates")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
    (place / "names").write_text("subjectAltName=IP:127.0.0.1,IP:::1\n")
    for name in ("server", "client"):
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        openssl(*signing, "-out", f"{name}.pem", "-days", "2", "-extfile", "names")
    openssl(*new, "-x509", "-keyout", "other-ca.key", "-out", "other-ca.pem", "-subj", "/CN=other", "-days", "2")
    openssl(*new, "-keyout", "stranger.key", "-out", "stranger.csr", "-subj", "/CN=stranger")
    signing = (
        "x509",
        "-req",
        "-in",
        "stranger.csr",
        "-CA",
        "other-ca.pem",
        "-CAkey",
        "other-ca.key",
        "-CAcreateserial",
    )
    openssl(*signing, "-out", "stranger.pem", "-days", "2")
    return place


def _tls(certificates: Path, *, with_client: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    if with_client:
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    return context


def _demanding(make_service: MakeService, certificates: Path) -> Service:
    """A service on a TLS listener that asks for a client's certificate."""
    port = make_service(start=False).port
    service = make_service(
        {
            "instance_api": {
                "listen": "",
                "listen_tls": f"127.0.0.1:{port}",
                "ssl_cert_file": certificates / "server.pem",
                "ssl_key_file": certificates / "server.key",
                "ssl_ca_file": certificates / "ca.pem",
            }
        },
        start=False,
    )
    service.port = port
    service.start()
    return service


def _reads(service: Service, context: ssl.SSLContext) -> bool:
    """Whether who shows what is in *context* is answered."""
    connection = service.connect(tls=context)
    try:
        connection.request("GET", "/openstack/latest/shared.json")
        return connection.getresponse().read() == b"[]\n"
    except (ssl.SSLError, ConnectionError):  # TLS 1.3 tells the client only when it reads
        return False
    finally:
        connection.close()


def test_a_tls_listener_asks_for_a_client_certificate_when_told_to(
    make_service: MakeService, certificates: Path
) -> None:
    service = _demanding(make_service, certificates)
    assert _reads(service, _tls(certificates, with_client=True))
    assert not _reads(service, _tls(certificates, with_client=False))


def test_sighup_reads_the_authorities_of_clients_again_and_keeps_the_old_ones_where_the_file_is_broken(
    make_service: MakeService, certificates: Path, tmp_path: Path
) -> None:
    place = tmp_path / "tls"
    shutil.copytree(certificates, place)
    service = _demanding(make_service, place)
    known, stranger = _tls(place, with_client=True), _tls(place, with_client=False)
    stranger.load_cert_chain(certificates / "stranger.pem", certificates / "stranger.key")
    assert (_reads(service, known), _reads(service, stranger)) == (True, False)
    shutil.copy(certificates / "other-ca.pem", place / "ca.pem")
    service.signal(signal.SIGHUP)
    _until_logged(service, "the authorities of clients")
    assert (_reads(service, known), _reads(service, stranger)) == (False, True)
    (place / "ca.pem").write_text("no authority")
    service.signal(signal.SIGHUP)
    _until_logged(service, "ERROR peerdata.serving")
    assert (
        "the old stays in force: [instance_api] ssl_cert_file, ssl_key_file or ssl_ca_file" in service.log.read_text()
    )
    assert (_reads(service, known), _reads(service, stranger)) == (False, True)


def test_ipv4_and_ipv6_listeners_stand_side_by_side(make_service: MakeService) -> None:
    port = make_service(start=False).port
    service = make_service({"instance_api": {"listen": f"127.0.0.1:{port},[::1]:{port}"}}, start=False)
    service.inventory.write_text(
        inventory_text({"blue": {"127.0.0.11": BLUE["127.0.0.11"], "::1": GREEN["127.0.0.21"]}})
    )
    service.port = port
    service.start()
    assert service.publish("127.0.0.11", key="1").status == 200
    connection = service.connect("::1", host="::1")
    connection.request("GET", "/openstack/latest/shared.json")
    assert BLUE["127.0.0.11"].encode() in connection.getresponse().read()


def test_the_environment_counts_over_the_file(make_service: MakeService) -> None:
    service = make_service(start=False)
    shown = subprocess.run(
        service.command("settings"),
        capture_output=True,
        text=True,
        env={"OS_LIMITS__MAX_KEYS_PER_INSTANCE": "7", "PATH": "/usr/bin:/bin"},
    )
    assert "max_keys_per_instance = 7" in shown.stdout, shown
    wrong = subprocess.run(service.command("settings"), capture_output=True, text=True, env={"OS_LIMITS__MAX_KEY": "7"})
    assert wrong.returncode == 2
    assert "OS_LIMITS__MAX_KEY in the environment" in wrong.stderr


def test_the_four_lines_of_the_demo_do_what_they_say(make_service: MakeService) -> None:
    """publish, discover, conflict, isolation, as `make serve` prints them."""
    service = make_service(start=False)
    service.inventory.write_text((ROOT / "demo" / "inventory.yaml").read_text())
    service.start()
    seen = {}
    for line in (ROOT / "demo" / "try.txt").read_text().splitlines():
        if found := re.match(r"  (\w+) +(curl .*)", line):
            command = found[2].replace("127.0.0.1:8775", f"127.0.0.1:{service.port}")
            seen[found[1]] = subprocess.run(command, shell=True, capture_output=True, text=True).stdout
    assert '"from_server_web_addr": "10.0.0.11:8080"' in seen["publish"]
    assert '"from_server_web_addr":"10.0.0.11:8080"' in seen["discover"]
    assert "peerdata.key.taken" in seen["conflict"]
    assert seen["isolation"] == "[]\n"


def test_the_store_of_a_later_version_is_refused_with_code_2(make_service: MakeService) -> None:
    service = make_service()
    service.kill()
    with sqlite3.connect(service.directory / "state" / "peerdata.sqlite") as store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
        store.execute("UPDATE compatibility SET oldest = '9999'")
    ended = service.run("serve")
    assert ended.returncode == 2
    assert "9999" in ended.stderr
    assert "later peerdata" in ended.stderr


def test_the_start_script_of_the_protocol_page_finds_the_same_peers_everywhere(make_service: MakeService) -> None:
    service = make_service()
    page = (ROOT / "docs" / "protocol.md").read_text()
    script = page[page.index("#!/bin/sh -e") :].split("```")[0]
    script = script.replace("http://169.254.169.254", f"http://127.0.0.1:{service.port}")

    def start(source: str) -> subprocess.Popen[str]:
        there = script.replace("curl ", f"curl --interface {source} ")
        command = ["sh", "-ec", there, "find-peers", "etcd", f"{source}:2380", "3"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    running = [start(source) for source in list(BLUE)[:3]]
    outcomes = [process.communicate(timeout=30) for process in running]
    assert len({printed for printed, _ in outcomes}) == 1, outcomes
    assert sorted(outcomes[0][0].split()) == [f"{source}:2380" for source in list(BLUE)[:3]]
    service.publish("127.0.0.14", etcd="elsewhere")
    refused = start("127.0.0.14")
    refused.communicate(timeout=30)
    assert refused.returncode == 22  # curl's, for a 409
