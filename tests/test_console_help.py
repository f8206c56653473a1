"""The pages that `--help` shows, and what commands answer before they do anything."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from console.__main__ import COMMANDS, postbacks
from console.settings import rows
from runtime.errors import BadSetting
from runtime.settings import Settings, load_settings


def run(*arguments: str) -> str:
    done = CliRunner().invoke(postbacks, list(arguments), obj=load_settings, terminal_width=110)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_each_page_has_an_example_and_the_exit_statuses(command: str) -> None:
    page = run(command, "--help")
    assert f"Example:\n    postbacks {command}" in page
    assert "Exit status:\n    0  " in page
    assert all(len(line) <= 110 for line in page.splitlines())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_page_names_only_settings_that_there_are(command: str) -> None:
    named = set(re.findall(r"POSTBACKS_[A-Z_]*[A-Z]", run(command, "--help")))
    real = {f"POSTBACKS_{field.upper()}" for field in Settings.model_fields} | {"POSTBACKS_SETTINGS"}
    assert named <= real


def test_the_first_page_lists_every_command_with_what_it_does() -> None:
    page = run("--help")
    for command in COMMANDS:
        assert f"\n  {command} " in page


def test_help_needs_no_settings() -> None:
    def unreadable() -> Settings:
        raise BadSetting("POSTBACKS_KAFKA=nonsense")

    for command in COMMANDS:
        assert CliRunner().invoke(postbacks, [command, "--help"], obj=unreadable).exit_code == 0


def test_an_id_that_is_no_guid_is_refused_by_name() -> None:
    done = CliRunner().invoke(postbacks, ["message", "12345"], obj=load_settings)
    assert done.exit_code == 2
    assert "'12345' is no GUID" in done.output


def test_settings_lists_all_with_their_meaning_and_what_differs_here() -> None:
    here = load_settings({"POSTBACKS_PARTITIONS": "32"})
    listed = {
        name: (value, default, meaning) for name, value, default, meaning in rows(here, load_settings({}))
    }
    assert len(listed) == len(Settings.model_fields)
    assert listed["POSTBACKS_PARTITIONS"][:2] == ("32", "8")
    assert listed["POSTBACKS_LISTEN"][:2] == ("", "127.0.0.1:8080")
    assert all(meaning for _, _, meaning in listed.values())


def test_settings_shows_no_secret() -> None:
    secret = {
        "POSTBACKS_TOKENS": "acme=topsecret",
        "POSTBACKS_KAFKA_SECURITY_PASSWORD": "topsecret",
        "POSTBACKS_CLICKHOUSE": "http://default:topsecret@127.0.0.1:8123/postbacks",
    }
    table = list(rows(load_settings(secret), load_settings({})))
    assert "topsecret" not in str(table)
    assert {name: value for name, value, *_ in table if value} == dict.fromkeys(secret, "**********")
