"""The operator's command: its arguments, what it prints, and how it ends."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from oslo_log import _options

from peerdata import cli
from peerdata.cli import FOR_OSLO, main
from peerdata.settings import SECTIONS, load
from tests.unit.settings.texts import STANDALONE


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
