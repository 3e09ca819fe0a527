"""Settings: what cannot work is refused with a sentence that names the option, whatever way it came in."""

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from oslo_config import cfg
from oslo_log import _options

from peerdata import cli
from peerdata.cli import FOR_OSLO, main
from peerdata.errors import SettingsInvalid
from peerdata.settings import SECTIONS, NeutronSettings, Settings, differences, load, parse_address

Load = Callable[..., Settings]

NOVA = "[nova]\nmetadata_url = http://127.0.0.1:8775\n[neutron]\nmetadata_proxy_shared_secret = s\n"


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have some of an OpenStack client there."""
    for name in list(os.environ):
        if name.startswith("OS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    """Writes a settings file; ``{there}`` is a file that can be read."""
    (tmp_path / "there").write_text("x")

    def write(text: str) -> str:
        path = tmp_path / "peerdata.conf"
        path.write_text(text.replace("{there}", str(tmp_path / "there")))
        return str(path)

    return write


@pytest.fixture
def load_text(config: Callable[[str], str]) -> Load:
    """The settings of a file with this text."""
    return lambda text: load([config(text)])[0]


STANDALONE = "[identity]\ninventory_file = {there}\n"


def test_stand_alone_needs_an_inventory_and_nothing_else(load_text: Load) -> None:
    settings = load_text(STANDALONE)
    assert settings.identity_mode == "inventory"
    assert settings.instance_api.listen == ("127.0.0.1:8775",)
    assert settings.database.connection == "sqlite:////var/lib/peerdata/peerdata.sqlite"


def test_in_front_of_nova_the_mode_is_neutron(load_text: Load) -> None:
    assert load_text(NOVA).identity_mode == "neutron"


def test_the_default_of_every_option_is_what_the_dataclass_says(load_text: Load) -> None:
    settings = load_text(NOVA)
    for name, section in SECTIONS.items():
        for entry in fields(section):
            if entry.name not in ("metadata_url", "metadata_proxy_shared_secret", "connection"):
                assert getattr(getattr(settings, name), entry.name) == entry.default


def test_the_store_stands_in_the_state_directory(load_text: Load) -> None:
    settings = load_text("[DEFAULT]\nstate_path = /srv/x\n" + STANDALONE)
    assert settings.database.connection == "sqlite:////srv/x/peerdata.sqlite"


def test_a_later_file_counts_over_an_earlier(config: Callable[[str], str], tmp_path: Path) -> None:
    later = tmp_path / "later.conf"
    later.write_text("[limits]\nmax_keys_per_instance = 2\n")
    first = config(STANDALONE + "[limits]\nmax_keys_per_instance = 1\nmax_value_chars = 7\n")
    limits = load([first, str(later)])[0].limits
    assert (limits.max_keys_per_instance, limits.max_value_chars) == (2, 7)


def test_lists_are_separated_by_commas(load_text: Load) -> None:
    settings = load_text(STANDALONE + "trusted_proxies = 192.0.2.1, 2001:db8::/64\n")
    assert settings.identity.trusted_proxies == ("192.0.2.1", "2001:db8::/64")


def test_options_of_logging_are_known(load_text: Load) -> None:
    load_text("[DEFAULT]\ndebug = true\nlog_file = /dev/null\n" + STANDALONE)


# From the environment


def test_the_environment_counts_over_the_file(load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_LIMITS__MAX_VALUE_CHARS", "9")
    monkeypatch.setenv("OS_INSTANCE_API__LISTEN", "127.0.0.1:1,[::1]:2")
    monkeypatch.setenv("OS_DEFAULT__STATE_PATH", "/srv/y")
    settings = load_text(STANDALONE + "[limits]\nmax_value_chars = 8\n")
    assert settings.limits.max_value_chars == 9
    assert settings.instance_api.listen == ("127.0.0.1:1", "[::1]:2")
    assert settings.service.state_path == "/srv/y"


def test_without_any_file_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_NOVA__METADATA_URL", "http://127.0.0.1:8775")
    monkeypatch.setenv("OS_NEUTRON__METADATA_PROXY_SHARED_SECRET", "from outside")
    settings = load([])[0]
    assert settings.neutron.metadata_proxy_shared_secret == "from outside"


@pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: str(section.group))
def test_every_option_can_come_from_the_environment(
    section: type, load_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong value shows that it was read; every option has one, or is plain text."""
    for entry in fields(section):
        variable = f"OS_{section.group.upper()}__{entry.name.upper()}"  # type: ignore[attr-defined]
        kind = entry.metadata["option"].__name__
        if kind in ("IntOpt", "FloatOpt", "BoolOpt"):
            monkeypatch.setenv(variable, "wrong")
            with pytest.raises(SettingsInvalid, match=entry.name):
                load_text(STANDALONE)
            monkeypatch.delenv(variable)


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("OS_NOVA__METADATA_ULR", "metadata_ulr"),
        ("OS_INSTANCE_API__LISTENS", "listens"),
        ("OS_DEFAULT__STATE_DIR", "state_dir"),
        ("OS_DATABASE__URL", "url"),
    ],
)
def test_an_unknown_option_in_the_environment_is_refused_and_named(
    variable: str, option: str, load_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(SettingsInvalid, match=f"{variable}.*'{option}'"):
        load_text(STANDALONE)


def test_an_unknown_section_in_the_environment_is_refused_and_named(
    load_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two underscores in a row are nobody else's: an OpenStack client has OS_AUTH_URL and the like."""
    monkeypatch.setenv("OS_INSTANCEAPI__LISTEN", "0.0.0.0:80")
    with pytest.raises(SettingsInvalid, match="OS_INSTANCEAPI__LISTEN"):
        load_text(STANDALONE)


def test_what_other_programs_have_in_the_environment_is_left_alone(
    load_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OS_AUTH_URL", "OS_PROJECT_NAME", "OS_CLOUD", "OSLO__X", "X__Y", "NOVA__METADATA_URL"):
        monkeypatch.setenv(name, "x")
    load_text(STANDALONE)


# What cannot work

IMPOSSIBLE = [
    (
        "a health check without a slash",
        STANDALONE + "[instance_api]\nhealthcheck_path = healthcheck",
        r"\[instance_api\] healthcheck_path 'healthcheck' must be a path",
    ),
    (
        "a health check with a query",
        STANDALONE + "[instance_api]\nhealthcheck_path = /healthcheck?a",
        r"\[instance_api\] healthcheck_path '/healthcheck\?a' must be a path",
    ),
    ("unknown option", STANDALONE + "[nova]\nmetadata_ulr = x\n", r"\[nova\].*'metadata_ulr'"),
    ("unknown option of DEFAULT", "[DEFAULT]\nstate_dir = x\n" + STANDALONE, r"\[DEFAULT\].*'state_dir'"),
    ("a dollar in an option of logging", "[DEFAULT]\nlog_file = /x$y\n" + STANDALONE, r"\[DEFAULT\].*\$y: a dollar"),
    ("with hyphens", STANDALONE + "[limits]\nmax-wait = 1\n", r"\[limits\].*'max-wait'"),
    ("of logging with hyphens", "[DEFAULT]\nlog-file = /dev/null\n" + STANDALONE, r"\[DEFAULT\].*'log-file'"),
    ("unknown section", STANDALONE + "[novva]\nmetadata_url = x\n", r"\[novva\].*\[nova\]"),
    ("section in capitals", STANDALONE + "[NOVA]\nmetadata_url = x\n", r"\[NOVA\]"),
    ("not a settings file", "instances: []", "peerdata.conf"),
    ("not a number", STANDALONE + "[limits]\nmax_value_chars = many\n", "max_value_chars"),
    ("too small", STANDALONE + "[limits]\nmax_keys_per_instance = 0\n", "max_keys_per_instance"),
    ("too large", STANDALONE + "[limits]\nmax_value_chars = 65537\n", "max_value_chars"),
    ("negative", STANDALONE + "proof_lifetime = -1\n", "proof_lifetime"),
    ("infinite", STANDALONE + "[nova]\ntimeout = inf\n", "timeout"),
    ("no choice", STANDALONE + "mode = keystone\n", "mode"),
    ("not a truth", STANDALONE + "[nova]\ninsecure = perhaps\n", "insecure"),
    ("nothing set at all", "", r"\[nova\] metadata_url.*\[identity\] inventory_file"),
    ("no secret", "[nova]\nmetadata_url = http://127.0.0.1:8775\n", r"\[neutron\] metadata_proxy_shared_secret"),
    (
        "neutron without nova",
        "[identity]\nmode = neutron\n[neutron]\nmetadata_proxy_shared_secret = s\n",
        "mode = neut",
    ),
    ("upstream without nova", "[identity]\nmode = upstream\n", r"mode = upstream.*\[nova\] metadata_url"),
    ("inventory without a file", "[identity]\nmode = inventory\n", "inventory_file"),
    ("inventory and nova", NOVA + STANDALONE + "mode = inventory\n", "mode = inventory.*metadata_url"),
    ("a file that is not there", "[identity]\ninventory_file = /nowhere\n", r"\[identity\] inventory_file.*'/nowhere'"),
    ("a proxy that is no address", STANDALONE + "trusted_proxies = localhost\n", "trusted_proxies: 'localhost'"),
    ("a proxy with a port", STANDALONE + "trusted_proxies = 192.0.2.1:80\n", "trusted_proxies"),
    ("nowhere to listen", "[instance_api]\nlisten =\n" + STANDALONE, r"\[instance_api\] listen"),
    ("listen without a port", "[instance_api]\nlisten = 127.0.0.1\n" + STANDALONE, r"\[instance_api\] listen"),
    ("listen on IPv6 without brackets", "[instance_api]\nlisten = ::1:80\n" + STANDALONE, "brackets"),
    ("operators on no port", "[operator_api]\nlisten = 127.0.0.1\n" + STANDALONE, r"\[operator_api\] listen"),
    (
        "TLS without a certificate",
        "[instance_api]\nlisten_tls = 127.0.0.1:1\n" + STANDALONE,
        "listen_tls.*ssl_cert_file",
    ),
    (
        "TLS without a key",
        "[instance_api]\nlisten_tls = 127.0.0.1:1\nssl_cert_file = {there}\n" + STANDALONE,
        "ssl_key_file",
    ),
    (
        "a certificate that is not there",
        "[instance_api]\nssl_cert_file = /nowhere\n" + STANDALONE,
        r"\[instance_api\] ssl_cert_file.*'/nowhere'",
    ),
    ("a certificate for nova without a key", NOVA + "[nova]\ncertfile = {there}\n", r"\[nova\] certfile and keyfile"),
    ("authorities that are not there", NOVA + "[nova]\ncafile = /nowhere\n", r"\[nova\] cafile.*'/nowhere'"),
]


@pytest.mark.parametrize(("text", "names"), [row[1:] for row in IMPOSSIBLE], ids=[row[0] for row in IMPOSSIBLE])
def test_what_cannot_work_is_refused_with_a_sentence_that_names_it(load_text: Load, text: str, names: str) -> None:
    with pytest.raises(SettingsInvalid, match=names) as refused:
        load_text(text)
    assert "\n" not in refused.value.message


# What other services of OpenStack have

SHARED_FILE = """
[DEFAULT]
debug = true
transport_url = rabbit://openstack:pw@192.0.2.1
control_exchange = nova
rpc_response_timeout = 60
rpc_workers = 1
use_syslog = false
watch_log_file = true
verbose = true
my_ip = 192.0.2.10
instances_path = /srv
report_interval = 10
metadata_workers = 2
graceful_shutdown_timeout = 60
[keystone_authtoken]
auth_url = http://192.0.2.1:5000
password = x
[oslo_messaging_notifications]
driver = messagingv2
[oslo_messaging_rabbit]
heartbeat_in_pthread = false
[oslo_concurrency]
lock_path = /tmp
[api_database]
connection = mysql+pymysql://nova@192.0.2.1/nova_api
[glance]
[placement]
[service_user]
[database]
max_pool_size = 1
connection_recycle_time = 10
max_retries = -1
[neutron]
auth_type = password
username = neutron
service_metadata_proxy = true
[cache]
backend = oslo_cache.memcache_pool
enabled = true
memcache_servers = 192.0.2.1:11211
"""


def test_well_known_options_and_sections_of_other_services_are_ignored_and_named(config: Callable[[str], str]) -> None:
    ignored: list[str] = []
    settings, conf = load([config(STANDALONE + SHARED_FILE)], ignored=ignored)
    assert conf["debug"] is True
    assert settings.database.connection.startswith("sqlite")
    assert "[DEFAULT] transport_url" in ignored
    assert "[keystone_authtoken]" in ignored
    assert "[database] max_pool_size" in ignored
    assert "[DEFAULT] debug" not in ignored
    # An empty section sets nothing.
    assert "[glance]" not in ignored
    assert len(set(ignored)) == len(ignored)


def test_what_other_services_have_in_the_environment_is_ignored_and_named(
    load_text: Load, config: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = ["OS_KEYSTONE_AUTHTOKEN__PASSWORD", "OS_DEFAULT__TRANSPORT_URL", "OS_DATABASE__MAX_POOL_SIZE"]
    for variable in variables:
        monkeypatch.setenv(variable, "x")
    ignored: list[str] = []
    load([config(STANDALONE)], ignored=ignored)
    assert sorted(ignored) == sorted(variables)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[DEFAULT]\nstatepath = x\n", r"\[DEFAULT\] has no option 'statepath'"),
        ("[DEFAULT]\nlog_fil = x\n", r"\[DEFAULT\] has no option 'log_fil'"),
        ("[DEFAULT]\nworkers = 4\n", r"\[DEFAULT\] has no option 'workers'; it stands in \[instance_api\]"),
        ("[DEFAULT]\nmetadata_url = x\n", r"it stands in \[nova\]"),
        ("[data_base]\nconnection = x\n", r"no section \[data_base\]; is \[database\] meant\?"),
        ("[limit]\nmax_wait = 1\n", r"no section \[limit\]; is \[limits\] meant\?"),
        ("[database]\nconection = x\n", r"\[database\] has no option 'conection'"),
        ("[neutron]\nmetadata_proxy_secret = x\n", r"\[neutron\] has no option 'metadata_proxy_secret'"),
    ],
)
def test_a_slip_of_the_pen_in_one_of_ours_is_refused_all_the_same(load_text: Load, text: str, says: str) -> None:
    with pytest.raises(SettingsInvalid, match=says):
        load_text(STANDALONE + text)


def test_names_that_options_of_logging_once_had_still_count(load_text: Load, config: Callable[[str], str]) -> None:
    ignored: list[str] = []
    conf = load([config(STANDALONE + "[DEFAULT]\nlogdir = /srv\n")], ignored=ignored)[1]
    assert (conf["log_dir"], ignored) == ("/srv", [])


# From the command line, as all services of OpenStack are started


def test_files_of_a_directory_count_in_the_order_of_their_names_and_are_checked_like_others(
    config: Callable[[str], str], tmp_path: Path
) -> None:
    directory = tmp_path / "conf.d"
    directory.mkdir()
    (directory / "20-more.conf").write_text("[limits]\nmax_value_chars = 9\n")
    (directory / "10-less.conf").write_text("[limits]\nmax_value_chars = 8\nmax_wait = 2\n")
    (directory / "30-else.conf.orig").write_text("[limits]\nmax_value_chars = 10\n")
    first = config(STANDALONE + "[limits]\nmax_wait = 1\nmax_waiting = 5\n")
    both = [f"--config-file={first}", f"--config-dir={directory}"]
    limits = load([], arguments=both)[0].limits
    assert (limits.max_value_chars, limits.max_wait, limits.max_waiting) == (9, 2, 5)
    assert load([], arguments=both[::-1])[0].limits.max_wait == 1
    assert load([first, str(directory)])[0].limits == limits
    (directory / "20-more.conf").write_text("[limits]\nmax_value_char = 9\n")
    with pytest.raises(SettingsInvalid, match=r"20-more\.conf: \[limits\] has no option 'max_value_char'"):
        load([], arguments=both)
    (directory / "20-more.conf").write_text("[limits]\nmax_value_chars = many\n")
    with pytest.raises(SettingsInvalid, match=r"max_value_chars = 'many' in .*20-more\.conf cannot be used"):
        load([], arguments=both)


def test_where_the_command_line_names_files_nothing_else_is_read(
    config: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what is in the default place, nor what oslo.config would find by itself."""
    (tmp_path / "default.conf").write_text(STANDALONE + "max_proofs = 7\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".peerdata").mkdir()
    (tmp_path / ".peerdata" / "peerdata.conf").write_text("[limits]\nmax_value_char = 9\n")
    path = config(STANDALONE)
    settings = load([str(tmp_path / "default.conf")], arguments=[f"--config-file={path}"])[0]
    assert settings.identity.max_proofs == Settings().identity.max_proofs


def test_without_arguments_the_default_file_and_directory_are_read(
    config: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = tmp_path / "peerdata.conf.d"
    monkeypatch.setattr(cli, "DEFAULT_CONFIG_FILE", config(STANDALONE + "[limits]\nmax_wait = 1\n"))
    monkeypatch.setattr(cli, "DEFAULT_CONFIG_DIR", str(directory))
    assert main(["settings"]) == 0
    assert "max_wait = 1.0\n" in capsys.readouterr().out
    directory.mkdir()
    (directory / "more.conf").write_text("[limits]\nmax_wait = 2\n")
    assert main(["settings", "--debug"]) == 0
    assert "max_wait = 2.0\n" in capsys.readouterr().out
    assert main(["settings", f"--config-file={config(STANDALONE)}"]) == 0
    assert "max_wait = 0.0\n" in capsys.readouterr().out


def test_arguments_of_logging_count_over_files(config: Callable[[str], str]) -> None:
    path = config("[DEFAULT]\ndebug = false\nlog_file = /x\n" + STANDALONE)
    conf = load([path], arguments=["--debug", "--log-file=/var/log/y", "--use-json"])[1]
    assert (conf["debug"], conf["log_file"], conf["use_json"]) == (True, "/var/log/y", True)


def test_every_argument_that_the_commands_take_for_oslo_is_one_of_its_own(config: Callable[[str], str]) -> None:
    path = config(STANDALONE)
    for name, value in FOR_OSLO.items():
        if name not in ("--config-file", "--config-dir"):
            load([path], arguments=[f"{name}=x" if value else name])


def test_every_argument_of_oslo_log_is_taken_by_the_commands() -> None:
    options = _options.common_cli_opts + _options.logging_cli_opts
    assert {f"--{option.name}" for option in options} <= set(FOR_OSLO)


@pytest.mark.parametrize("words", [["settings"], ["db", "current"], ["cluster", "show"]])
def test_a_command_takes_the_arguments_of_openstack_s_services_wherever_they_stand(
    config: Callable[[str], str], tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(STANDALONE + f"[database]\nconnection = sqlite:///{tmp_path}/store.sqlite\n")
    names = ["p1", "--log-dir", str(tmp_path), "n1"] if words == ["cluster", "show"] else ["--log-dir", str(tmp_path)]
    assert main(["db", "upgrade", "--config-file", path]) == 0
    code = main([*words, "-d", "--config-file", path, *names, "--use-json"])
    assert code == (1 if words == ["cluster", "show"] else 0), capsys.readouterr()


@pytest.mark.parametrize("command", ["settings", "db current", "db upgrade", "instance list"])
def test_every_command_refuses_a_store_that_cannot_be_meant(
    config: Callable[[str], str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(STANDALONE + "[database]\nconnection = oracle://x\n")
    assert main([*command.split(), "--config-file", path]) == 2
    assert "[database] connection" in capsys.readouterr().err


def test_what_differs_between_two_readings_is_named() -> None:
    other = Settings(neutron=NeutronSettings(metadata_proxy_shared_secret="x"))
    assert differences(Settings(), other) == ["[neutron] metadata_proxy_shared_secret"]
    assert differences(other, other) == []


REFUSED = [
    (
        "[limits]\nmax_value_chars = many",
        "[limits] max_value_chars = 'many' in {file}",
        "a whole number from 1 to 65536",
    ),
    ("[limits]\nmax_value_chars = 65537", "[limits] max_value_chars = '65537'", "a whole number from 1 to 65536"),
    ("[nova]\ntimeout = 0", "[nova] timeout = '0'", "a number from 0.1 to 300"),
    ("[nova]\ntimeout = soon", "[nova] timeout = 'soon'", "a number from 0.1 to 300"),
    ("[nova]\ninsecure = perhaps", "[nova] insecure = 'perhaps'", "true or false"),
    ("[identity]\nmode = keystone", "[identity] mode = 'keystone'", "one of (empty), neutron, upstream, inventory"),
    ("[DEFAULT]\nmax_logfile_count = x", "[DEFAULT] max_logfile_count = 'x'", "invalid literal for int()"),
    ("[DEFAULT]\nlog_rotation_type = x", "[DEFAULT] log_rotation_type = 'x'", "interval, size, none"),
    ("[DEFAULT]\ndebug = perhaps", "[DEFAULT] debug = 'perhaps' in {file}", "Invalid Boolean value"),
    ("[DEFAULT]\nuse_json = 7", "[DEFAULT] use_json = '7'", "Invalid Boolean value: 7"),
]


@pytest.mark.parametrize(("text", "names", "permits"), REFUSED, ids=[row[0].partition("\n")[2] for row in REFUSED])
def test_a_value_that_is_refused_is_told_with_its_section_and_what_is_permitted(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str], text: str, names: str, permits: str
) -> None:
    path = config(STANDALONE + text + "\n")
    with pytest.raises(SettingsInvalid) as refused:
        load([path])
    assert names.replace("{file}", path) in refused.value.message
    assert permits in refused.value.message
    assert "LocationInfo" not in refused.value.message
    assert capsys.readouterr() == ("", "")


def test_of_several_places_that_is_named_whose_value_counts(
    config: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path / "later.conf"
    later.write_text("[limits]\nmax_wait = 99\n")
    first = config(STANDALONE + "[limits]\nmax_wait = 98\n")
    with pytest.raises(SettingsInvalid, match=r"\[limits\] max_wait = '99' in .*later.conf cannot"):
        load([first, str(later)])
    monkeypatch.setenv("OS_LIMITS__MAX_WAIT", "97")
    with pytest.raises(SettingsInvalid, match=r"= '97' in the environment \(OS_LIMITS__MAX_WAIT\) cannot"):
        load([first, str(later)])


def test_the_value_of_a_secret_that_is_refused_is_not_told(load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of ours can be wrong by itself yet; so one is made that can."""
    entry = next(entry for entry in fields(NeutronSettings) if entry.name == "metadata_proxy_shared_secret")
    rules = {**entry.metadata["rules"], "min": 1, "max": 9}
    monkeypatch.setattr(entry, "metadata", {**entry.metadata, "option": cfg.IntOpt, "rules": rules})
    with pytest.raises(SettingsInvalid, match=r"\[neutron\] metadata_proxy_shared_secret cannot be used") as refused:
        load_text("[nova]\nmetadata_url = http://nova\n[neutron]\nmetadata_proxy_shared_secret = hidden\n")
    assert "hidden" not in refused.value.message
    assert "a whole number from 1 to 9" in refused.value.message


@pytest.mark.parametrize(
    "url",
    [
        "nova",
        "127.0.0.1:8775",
        "ftp://127.0.0.1:8775",
        "http://",
        "http://:8775",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:8775/nova",
        "http://127.0.0.1:8775/?x=y",
        "http://127.0.0.1:8775/#x",
        "http://user:pw@127.0.0.1:8775",
    ],
)
def test_the_url_of_nova_has_a_host_and_nothing_behind_it(load_text: Load, url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"\[nova\] metadata_url"):
        load_text(f"[nova]\nmetadata_url = {url}\n[neutron]\nmetadata_proxy_shared_secret = s\n")


@pytest.mark.parametrize("url", ["http://nova", "https://nova:443", "http://[::1]:8775", "http://127.0.0.1:8775/"])
def test_a_url_of_nova_is_accepted_with_and_without_port_and_slash(load_text: Load, url: str) -> None:
    text = f"[nova]\nmetadata_url = {url}\n[neutron]\nmetadata_proxy_shared_secret = s\n"
    assert load_text(text).nova.metadata_url == url


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsInvalid, match=r"/nowhere\.conf"):
        load(["/nowhere.conf"])


def test_a_bracket_that_is_not_closed_is_refused(load_text: Load) -> None:
    with pytest.raises(SettingsInvalid, match="metadata_url"):
        load_text("[nova]\nmetadata_url = http://[::1\n[neutron]\nmetadata_proxy_shared_secret = s\n")


def test_a_time_that_is_not_a_number_is_refused(load_text: Load) -> None:
    with pytest.raises(SettingsInvalid, match="timeout"):
        load_text(STANDALONE + "[nova]\ntimeout = nan\n")


def test_the_name_of_a_section_is_no_option(load_text: Load) -> None:
    with pytest.raises(SettingsInvalid, match="'nova'"):
        load_text("[DEFAULT]\nnova = http://127.0.0.1:8775\n" + STANDALONE)


def test_a_dollar_in_the_secret_is_refused_without_telling_the_secret(load_text: Load) -> None:
    """Oslo.config takes ``$word`` for another option; ``$$`` is a dollar. Who reads the message must learn where."""
    with pytest.raises(SettingsInvalid, match="metadata_proxy_shared_secret") as refused:
        load_text("[nova]\nmetadata_url = http://nova\n[neutron]\nmetadata_proxy_shared_secret = pass$word\n")
    assert "word" not in refused.value.message.replace("metadata_proxy_shared_secret", "")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8775", ("127.0.0.1", 8775)),
        ("[::1]:0", ("::1", 0)),
        ("[::]:65535", ("::", 65535)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, option="x") == address


@pytest.mark.parametrize(
    "text",
    ["", ":", ":80", "host", "host:", "host:x", "host:-1", "host:65536", "host:٣", "::1", "::1:80", "[::1]", "[]:80"],
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="the option"):
        parse_address(text, option="the option")


# The command


def test_the_settings_in_force_are_printed_with_secrets_masked(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "correct horse"
    path = config(
        f"[nova]\nmetadata_url = http://nova\n[neutron]\nmetadata_proxy_shared_secret = {secret}\n"
        "[database]\nconnection = mysql+pymysql://peer:hidden@host/name\n[limits]\nmax_value_chars = 77\n"
    )
    assert main(["settings", "--config-file", path]) == 0
    printed = capsys.readouterr().out
    assert "metadata_proxy_shared_secret = ***" in printed
    assert "connection = mysql+pymysql://peer:***@host/name" in printed
    assert "max_value_chars = 77" in printed
    assert secret not in printed
    assert "hidden" not in printed
    for section in SECTIONS.values():
        assert f"[{section.group}]" in printed
        for entry in fields(section):
            assert f"\n{entry.name} = " in printed


def test_an_empty_secret_is_shown_to_be_empty(config: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--config-file", config(STANDALONE)]) == 0
    assert "metadata_proxy_shared_secret = \n" in capsys.readouterr().out


def test_a_wrong_setting_ends_every_command_with_a_sentence_and_exit_code_2(
    config: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(STANDALONE + "[limits]\nmax_keys = 1\n")
    for command in (["serve"], ["settings"], ["db", "upgrade"], ["db", "current"], ["instance", "remove", "x"]):
        assert main([*command, "--config-file", path]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("peerdata: ")
        assert "max_keys" in said.err
        assert said.err.count("\n") == 1


def test_the_sample_needs_no_settings_and_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample"]) == 0
    printed = capsys.readouterr().out
    for section in SECTIONS.values():
        assert f"[{section.group}]" in printed
        for entry in fields(section):
            assert f"\n#{entry.name} =" in printed


@pytest.mark.parametrize("arguments", [[], ["serv"], ["db"], ["instance", "remove"], ["serve", "--port", "1"]])
def test_a_wrong_command_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_secret_does_not_stand_in_the_repr() -> None:
    """Settings end up in tracebacks and debug logs."""
    settings = Settings(neutron=NeutronSettings(metadata_proxy_shared_secret="correct horse"))
    assert "correct horse" not in repr(settings)
