"""Settings: what cannot be read is refused with a sentence that names the option, whatever way it came in."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from oslo_config import cfg

from peerdata.errors import SettingsInvalid
from peerdata.settings import SECTIONS, NeutronSettings, Settings, differences, load
from tests.unit.settings.texts import STANDALONE, Load


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


IMPOSSIBLE = [
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
]


@pytest.mark.parametrize(("text", "names"), [row[1:] for row in IMPOSSIBLE], ids=[row[0] for row in IMPOSSIBLE])
def test_what_cannot_work_is_refused_with_a_sentence_that_names_it(load_text: Load, text: str, names: str) -> None:
    with pytest.raises(SettingsInvalid, match=names) as refused:
        load_text(text)
    assert "\n" not in refused.value.message


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


def test_arguments_of_logging_count_over_files(config: Callable[[str], str]) -> None:
    path = config("[DEFAULT]\ndebug = false\nlog_file = /x\n" + STANDALONE)
    conf = load([path], arguments=["--debug", "--log-file=/var/log/y", "--use-json"])[1]
    assert (conf["debug"], conf["log_file"], conf["use_json"]) == (True, "/var/log/y", True)


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


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsInvalid, match=r"/nowhere\.conf"):
        load(["/nowhere.conf"])


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
