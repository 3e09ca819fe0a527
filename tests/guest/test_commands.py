"""Each command as its users run it, against the fake service: output, exit code and messages."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from peerdata import testing
from peerdata.__main__ import GUEST_COMMANDS
from peerdata.guest.cli import COMMANDS, EXIT_CODES

from .conftest import SOURCE, Run


def publish(instance: testing.Instance, **meta: str) -> None:
    from peerdata.guest import Guest

    Guest(instance.url, state="").publish(meta)


def test_publish_prints_nothing_and_peers_shows_the_keys(cloud: testing.Cloud, run: Run) -> None:
    one, two = cloud.instance(), cloud.instance()
    done = run(one, "publish", "addr=10.0.0.11", "note=a=b c")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads(run(two, "peers", "--format", "json").stdout) == [
        {"uuid": one.uuid, "self": False, "meta": {"addr": "10.0.0.11", "note": "a=b c"}}
    ]
    assert run(one, "peers", "--others", "--format", "addresses").stdout == ""
    assert "a=b c" in run(one, "peers").stdout
    assert cloud.bodies == 0


def test_a_private_key_is_visible_to_its_instance_only(cloud: testing.Cloud, run: Run) -> None:
    one = cloud.instance("one")
    assert run(one, "publish", "--private", "a=1").returncode == 0
    assert json.loads(run(one, "peers", "--format", "json").stdout) == []
    assert json.loads(run(one, "whoami", "--format", "json").stdout)["meta"] == {"a": "1"}
    assert run(one, "whoami").stdout == f"{one.uuid}\n"
    assert "PEERDATA_NAME='one'\n" in run(one, "whoami", "--format", "env").stdout


@pytest.mark.parametrize("words", [["--addresses", "etcd_"], ["--addresses", "etcd_", "x=1"]])
def test_own_addresses_are_published_under_their_prefix(cloud: testing.Cloud, run: Run, words: list[str]) -> None:
    networks = [{"type": "ipv6", "ip_address": "fd00::1"}, {"type": "ipv4", "ip_address": "192.0.2.1"}]
    one = cloud.instance(network_data={"networks": networks})
    assert run(one, "publish", *words).returncode == 0
    (peer,) = json.loads(run(one, "peers", "--prefix", "etcd_", "--format", "json").stdout)
    assert peer["meta"] == {"etcd_addr": "192.0.2.1", "etcd_addr6": "fd00::1", "etcd_addrs": "192.0.2.1,fd00::1"}
    assert (
        run(
            one, "peers", "--prefix", "etcd_", "--address-key", "etcd_addr6", "--port", "80", "--format", "addresses"
        ).stdout
        == "[fd00::1]:80\n"
    )


def test_a_pair_after_addresses_is_not_its_prefix(cloud: testing.Cloud, run: Run) -> None:
    one = cloud.instance()
    assert run(one, "publish", "--addresses", "x=1").returncode == 0
    (peer,) = json.loads(run(one, "peers", "--format", "json").stdout)
    assert peer["meta"] == {"addr": "127.0.0.1", "addrs": "127.0.0.1", "x": "1"}


def test_arguments_after_two_hyphens_are_never_options(cloud: testing.Cloud, run: Run) -> None:
    one = cloud.instance()
    for words in (["x=0", "--", "-x=1", "--private=", "--y=2"], ["--addresses", "--", "-z=3"]):
        assert run(one, "publish", *words).returncode == 0
    (peer,) = json.loads(run(one, "peers", "--format", "json").stdout)
    expected = {"x": "0", "-x": "1", "--private": "", "--y": "2", "-z": "3", "addr": "127.0.0.1", "addrs": "127.0.0.1"}
    assert peer["meta"] == expected
    assert run(one, "join", "--size", "1", "--", "-db", "-db_a=1").stdout == "bootstrap\n"
    assert run(one, "formed", "--", "-db").returncode == 0
    done = run(one, "whoami", "--", "-x")
    assert (done.returncode, "unrecognized arguments: -x\n" in done.stderr) == (2, True)


@pytest.mark.parametrize("command", ["publish", "join"])
def test_the_look_up_of_addresses_counts_towards_the_timeout(cloud: testing.Cloud, run: Run, command: str) -> None:
    began = time.monotonic()
    words = {"publish": ["publish"], "join": ["join", "db", "--size", "1"]}[command]
    done = run("http://127.0.0.1:1", *words, "--addresses", "--timeout", "1")
    assert (done.returncode, time.monotonic() - began < 20) == (1, True)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["publish", "a=2"], 3),
        (["publish", "a"], 2),
        (["publish"], 2),
        (["publish", "a=1", "a=2"], 2),
        (["publish", "ü=1"], 2),
        (["peers", "--format", "nonsense"], 2),
        (["peers", "--reload", "true"], 2),
        (["peers", "--format", "json", "--template", "/dev/null"], 2),
        (["peers", "--port", "0"], 2),
        (["peers", "--template", "/nonexistent"], 2),
        (["peers", "--format", "galera"], 1),
        (["wait"], 2),
        (["wait", "--count", "2", "--timeout", "0.2"], 4),
        (["join", "db"], 2),
        (["join", "a/b", "--size", "1"], 2),
        (["join", "db", "--size", "0"], 2),
        (["join", "db", "--size", "1001"], 2),
        (["peers", "--prefix", "a/b"], 2),
        (["watch", "--prefix", "ü"], 2),
        (["formed", "db"], 2),
        (["formed", "db", "--term", "1"], 3),
        (["nonsense"], 2),
    ],
)
def test_a_failed_command_has_its_exit_code_and_prints_nothing(
    cloud: testing.Cloud, run: Run, words: list[str], code: int
) -> None:
    one = cloud.instance()
    publish(one, a="1")
    done = run(one, *words)
    assert (done.returncode, done.stdout) == (code, ""), done
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_service_is_1_and_one_without_peerdata_is_5(run: Run) -> None:
    assert run("http://127.0.0.1:1", "whoami", "--timeout", "0").returncode == 1
    with testing.Cloud(without_peerdata=True) as nova:
        one = nova.instance()
        done = run(one, "peers")
        assert (done.returncode, "without peerdata" in done.stderr) == (5, True)
        assert run(one, "publish", "a=1").returncode == 5
        assert run(one, "whoami").stdout == f"{one.uuid}\n", "nova returns that much"


def test_peers_falls_back_to_the_last_good_list_with_its_age(cloud: testing.Cloud, run: Run, tmp_path: Path) -> None:
    one = cloud.instance()
    publish(one, addr="10.0.0.11")
    good = run(one, "peers", "--format", "addresses").stdout
    cloud.fail(*[503] * 9)
    done = run(one, "peers", "--format", "addresses", "--timeout", "0")
    assert (done.returncode, done.stdout) == (6, good)
    assert "seconds old" in done.stderr
    out = tmp_path / "peers"
    words = ["peers", "--format", "addresses", "--timeout", "0", "--out", str(out)]
    assert run(one, *words).returncode == 6
    assert out.read_text() == good, "there was no file yet"
    out.write_text("younger")
    assert run(one, *words).returncode == 6
    assert out.read_text() == "younger"


def test_a_reload_runs_only_when_the_file_has_changed(cloud: testing.Cloud, run: Run, tmp_path: Path) -> None:
    one = cloud.instance()
    publish(one, addr="10.0.0.11")
    out, log = tmp_path / "hosts", tmp_path / "log"
    words = ["peers", "--format", "hosts", "--out", str(out), "--reload", f"cat $PEERDATA_FILE >>{log}"]
    assert [run(one, *words).returncode for _ in range(2)] == [0, 0]
    assert log.read_text() == out.read_text() == f"10.0.0.11 {one.uuid}\n"
    publish(cloud.instance(), addr="10.0.0.12")
    failing = run(one, *words[:-1], "exit 7")
    assert (failing.returncode, "failed with 7" in failing.stderr) == (1, True)
    assert "10.0.0.12" in out.read_text()


def test_a_failed_reload_is_due_until_it_succeeds(cloud: testing.Cloud, run: Run, tmp_path: Path) -> None:
    one = cloud.instance()
    publish(one, addr="10.0.0.11")
    out, log = tmp_path / "conf" / "hosts", tmp_path / "log"
    out.parent.mkdir()
    words = ["peers", "--format", "hosts", "--out", str(out), "--reload"]
    assert [run(one, *words, "exit 7").returncode for _ in range(2)] == [1, 1]
    assert [run(one, *words, f"echo reloaded >>{log}").returncode for _ in range(2)] == [0, 0]
    assert log.read_text() == "reloaded\n", "once"
    assert [path.name for path in out.parent.iterdir()] == ["hosts"]


def test_wait_prints_the_list_only_if_a_format_is_given(cloud: testing.Cloud, run: Run) -> None:
    one = cloud.instance()
    publish(one, db_addr="10.0.0.11")
    assert run(one, "wait", "--count", "1").stdout == ""
    words = ["wait", "--count", "1", "--prefix", "db_", "--format", "galera"]
    assert run(one, *words).stdout == "gcomm://10.0.0.11\n"


def test_join_prints_the_verdict_as_one_word(cloud: testing.Cloud, run: Run, tmp_path: Path) -> None:
    one, two, three = cloud.instance(), cloud.instance(), cloud.instance()
    mine = ["join", "db", "x=1", "--size", "2", "--closed", "db_addr=10.0.0.1"]  # pairs before and behind options
    assert (run(one, *mine).stdout, run(one, *mine).returncode) == ("bootstrap\n", 0)
    done = run(two, "join", "db", "--size", "2", "--closed", "--addresses")
    assert (done.stdout, done.returncode) == ("wait\n", 4)
    out = tmp_path / "addresses"
    assert run(two, "join", "db", "--size", "2", "--closed", "--format", "addresses", "--out", str(out)).returncode == 4
    assert not out.exists(), "nothing is known yet"
    assert run(one, "formed", "db").returncode == 0
    done = run(
        two, "join", "db", "--size", "2", "--closed", "--until-ready", "--format", "addresses", "--out", str(out)
    )
    assert (done.stdout, done.returncode) == ("join\n", 0)
    assert out.read_text() == "10.0.0.1\n127.0.0.1\n"
    done = run(three, "join", "db", "--size", "2", "--closed")
    assert (done.stdout, done.returncode) == ("full\n", 3)


def test_join_prints_the_whole_verdict_as_json_whatever_it_is(cloud: testing.Cloud, run: Run) -> None:
    words = ["join", "db", "--size", "1", "--closed", "--format", "json"]
    one, two = cloud.instance(), cloud.instance()
    for instance, verdict, code in ((one, "bootstrap", 0), (two, "wait", 4)):
        done = run(instance, *words)
        assert (json.loads(done.stdout)["verdict"], done.returncode) == (verdict, code)
        assert json.loads(done.stdout)["why"]
    run(one, "formed", "db")
    done = run(two, *words)
    assert (json.loads(done.stdout)["verdict"], done.returncode) == ("full", 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gap_addr=", "--format", "galera"], "gap_addr is not an address: ''; nothing was published"),
        (["gap_addr=$IP"], "gap_addr is not an address: '$IP'; nothing was published"),
        (["addr=no address", "--format", "etcd"], "addr is not an address: 'no address'; nothing was published"),
        (["a=:1", "--address-key", "a", "--format", "etcd"], "a is not an address: ':1'; nothing was published"),
        (
            ["gap_addr=10.0.0.1", "gap_name=no name", "--format", "etcd"],
            "gap_name is not a valid name: 'no name'; nothing",
        ),
    ],
)
def test_join_checks_the_own_address_before_publishing_it(
    cloud: testing.Cloud, run: Run, words: list[str], message: str
) -> None:
    done = run(cloud.instance(), "join", "gap", "--size", "2", "--until-ready", *words)
    assert (done.returncode, done.stdout, message in done.stderr) == (2, "", True), done.stderr
    assert cloud.requests == []


def test_join_requires_an_address_if_the_format_writes_it(cloud: testing.Cloud, run: Run) -> None:
    words = ["join", "db", "--size", "2", "--format", "galera"]
    one = cloud.instance()
    done = run(one, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "add db_addr=ADDRESS, or --addresses" in done.stderr
    assert all(request.startswith("GET") for request in cloud.requests), "it has not become a member"
    assert "add a=ADDRESS; nothing" in run(one, *words, "--address-key", "a").stderr
    publish(one, db_addr="10.0.0.1")
    assert run(one, *words).stdout == "gcomm://\n", "published before"
    assert run(cloud.instance(), *words[:-2]).returncode == 4, "no address is written"


def test_an_invalid_address_that_was_published_before_is_reported_before_joining(
    cloud: testing.Cloud, run: Run
) -> None:
    one = cloud.instance()
    publish(one, db_addr="")
    done = run(one, "join", "db", "--size", "1", "--format", "galera")
    assert (done.returncode, done.stdout, "use another name" in done.stderr) == (1, "", True)
    assert all(request.startswith("GET") for request in cloud.requests[1:])


def test_in_a_formed_cluster_a_bad_member_does_not_keep_others_from_restarting(cloud: testing.Cloud, run: Run) -> None:
    one, two, three = cloud.instance(), cloud.instance(), cloud.instance()
    words = ["join", "db", "--size", "3", "--format", "galera"]
    assert run(one, *words, "db_addr=10.0.0.1").stdout == "gcomm://\n"
    run(one, "formed", "db")
    publish(three, db_addr="oops:")
    run(three, "join", "db", "--size", "3")
    done = run(two, *words, "db_addr=10.0.0.2")
    assert (done.returncode, done.stdout) == (0, "gcomm://10.0.0.1,10.0.0.2\n")
    assert f"instance {three.uuid}: db_addr is not an address: 'oops:'; left out" in done.stderr


def test_the_myid_of_the_page_is_the_number_in_every_list(
    cloud: testing.Cloud, run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    page = (SOURCE.parent / "docs" / "guest.md").read_text(encoding="utf-8")
    lines = next(block for block in re.findall(r"```sh\n(.*?)```", page, re.S) if "myid" in block)
    lines = lines.replace("peerdata join", f"{sys.executable} -m peerdata join").replace("--size 3", "--size 2")
    instances = [cloud.instance(network_data=_at(f"192.0.2.{number}")) for number in (1, 2)]
    publish(instances[1], zk_addr="192.0.2.2", zk_addrs="192.0.2.2")
    run(instances[1], "join", "zk", "--size", "2", "--founders", "all")
    for number, instance in enumerate(instances, start=1):
        place = tmp_path / str(number)
        place.mkdir()
        done = subprocess.run(
            ["/bin/sh", "-ec", lines.replace("/etc/zookeeper", str(place)).replace("/var/lib/zookeeper", str(place))],
            env={**environment, "PEERDATA_URL": instance.url}, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "bootstrap\n"), done.stderr
        own = f"server.{(place / 'myid').read_text().strip()}=192.0.2.{number}:2888:3888;2181"
        assert own in (place / "servers.cfg").read_text().splitlines()


def _at(address: str) -> dict[str, object]:
    """A network_data.json with that address."""
    return {"networks": [{"type": "ipv4", "ip_address": address}]}


def test_zookeeper_outside_of_join_is_refused_before_any_request(cloud: testing.Cloud, run: Run) -> None:
    for words in (["peers"], ["wait", "--count", "9"], ["watch"]):
        done = run(cloud.instance(), *words, "--format", "zookeeper")
        assert (done.returncode, "for `join` only" in done.stderr) == (2, True)
    assert cloud.requests == []


def test_a_url_copied_from_curl_is_refused_with_the_right_form(cloud: testing.Cloud, run: Run) -> None:
    done = run(f"{cloud.url}/openstack/latest", "whoami")
    assert (done.returncode, f"host and port: use {cloud.url}, not" in done.stderr) == (2, True)
    assert cloud.requests == []


def test_three_founders_of_etcd_get_the_same_cluster(
    cloud: testing.Cloud, run: Run, environment: dict[str, str]
) -> None:
    """All at once, each a process of its own, as at boot."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "peerdata", "join", "etcd", "--size", "3", "--founders", "all", "--until-ready",
             "--format", "etcd", f"etcd_addr=10.0.0.1{number}", f"etcd_name=etcd{number}", "--timeout", "20"],
            env={**environment, "PEERDATA_URL": cloud.instance().url}, stdout=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    printed = [process.communicate(timeout=30)[0].splitlines() for process in started]
    assert len({lines[0] for lines in printed}) == 1
    assert printed[0][0].count("=http://") == 3
    assert sorted(lines[1] for lines in printed) == ['ETCD_NAME="etcd0"', 'ETCD_NAME="etcd1"', 'ETCD_NAME="etcd2"']
    assert printed[0][2:] == ['ETCD_INITIAL_CLUSTER_STATE="new"', 'ETCD_INITIAL_CLUSTER_TOKEN="etcd-1"']


def test_watch_hands_each_list_to_its_command_and_file(
    cloud: testing.Cloud, environment: dict[str, str], tmp_path: Path
) -> None:
    one, two = cloud.instance(), cloud.instance()
    publish(one, addr="10.0.0.11")
    out, log = tmp_path / "hosts", tmp_path / "log"
    watching = subprocess.Popen(
        [sys.executable, "-m", "peerdata", "watch", "--format", "addresses", "--out", str(out),
         "--exec", f"cat >>{log}; echo $PEERDATA_COUNT >>{log}.count"],
        env={**environment, "PEERDATA_URL": one.url}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _until(lambda: (tmp_path / "log.count").exists())
        cloud.fail(503)
        publish(two, addr="10.0.0.12")
        _until(lambda: (tmp_path / "log.count").read_text() == "1\n2\n")
        assert out.read_text() == "10.0.0.11\n10.0.0.12\n"
    finally:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130


def _until(true: object, timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_terminal_shows_what_is_being_waited_for(cloud: testing.Cloud, environment: dict[str, str]) -> None:
    one = cloud.instance()
    publish(one, a="1")
    leader, follower = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "peerdata", "wait", "--count", "2", "--timeout", "0.5"],
        env={**environment, "PEERDATA_URL": one.url}, stderr=follower, timeout=20,
    )  # fmt: skip
    os.close(follower)
    seen = os.read(leader, 100_000)
    os.close(leader)
    assert b"\r\x1b[K1 of 2 peers (" in seen


def test_a_closed_pipe_is_not_a_traceback(cloud: testing.Cloud, environment: dict[str, str]) -> None:
    one = cloud.instance()
    for number in range(100):
        publish(one, **{f"k{number}": "x" * 250})
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m peerdata peers --format json | true"],
        env={**environment, "PEERDATA_URL": one.url}, capture_output=True, timeout=20,
    )  # fmt: skip
    assert done.stderr == b""


# The command itself


def test_the_commands_are_known_before_anything_is_imported() -> None:
    assert tuple(COMMANDS) == GUEST_COMMANDS


@pytest.mark.parametrize("command", GUEST_COMMANDS)
def test_every_help_has_the_exit_codes(run: Run, command: str) -> None:
    done = run("http://127.0.0.1:1", command, "--help")
    assert done.returncode == 0
    assert EXIT_CODES in done.stdout


def test_the_help_shows_the_commands_of_guest_and_operator(run: Run) -> None:
    shown = run("", "--help").stdout
    assert all(f"    {command} " in shown for command in (*GUEST_COMMANDS, "serve", "settings"))


def test_a_guest_command_imports_nothing_slow_and_nothing_of_the_service(
    cloud: testing.Cloud, environment: dict[str, str]
) -> None:
    """What makes the start short: measured in docs/guest.md."""
    shown = subprocess.run(
        [sys.executable, "-S", "-X", "importtime", "-m", "peerdata", "whoami"],
        env={**environment, "PEERDATA_URL": cloud.instance().url}, capture_output=True, text=True, timeout=20,
    ).stderr  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in shown.splitlines() if line.startswith("import time:")}
    assert "peerdata.guest.library" in imported
    assert not imported & {"ssl", "http.client", "email", "dataclasses", "urllib.request", "tempfile", "subprocess"}
    ours = {name for name in imported if name.startswith("peerdata.")}
    assert all(name.startswith("peerdata.guest") for name in ours)


def test_an_operators_command_without_its_packages_names_what_to_install(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "peerdata", "serve"], env=environment, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2
    assert "pip install 'peerdata[server]'" in done.stderr
    assert SOURCE.is_dir()
