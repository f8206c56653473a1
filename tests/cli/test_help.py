"""The pages that `--help` shows, and what commands answer before they do anything."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from cli.__main__ import COMMANDS, postbacks
from cli.settings import rows
from cli.up.welcome import SAMPLE_ID
from runtime.errors import InvalidSetting
from runtime.settings import Settings, load_settings
from tests.support.stack import command


def run(*arguments: str) -> str:
    done = CliRunner().invoke(postbacks, list(arguments), obj=load_settings, terminal_width=110)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", COMMANDS)
def test_each_page_has_an_example_and_the_exit_statuses(name: str) -> None:
    page = run(name, "--help")
    assert f"Example:\n    postbacks {name}" in page
    assert "Exit status:\n    0  " in page
    assert all(len(line) <= 110 for line in page.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_page_names_only_settings_that_there_are(name: str) -> None:
    named = set(re.findall(r"POSTBACKS_[A-Z_]*[A-Z]", run(name, "--help")))
    real = {f"POSTBACKS_{field.upper()}" for field in Settings.model_fields} | {"POSTBACKS_SETTINGS"}
    assert named <= real


def test_the_first_page_lists_every_command_with_what_it_does() -> None:
    page = run("--help")
    for name in COMMANDS:
        assert f"\n  {name} " in page


def test_help_needs_no_settings() -> None:
    def unreadable() -> Settings:
        raise InvalidSetting("POSTBACKS_KAFKA=nonsense")

    for name in COMMANDS:
        assert CliRunner().invoke(postbacks, [name, "--help"], obj=unreadable).exit_code == 0


def test_an_id_that_is_no_guid_is_refused_by_name() -> None:
    done = CliRunner().invoke(postbacks, ["message", "12345"], obj=load_settings)
    assert done.exit_code == 2
    assert "'12345' is no GUID" in done.output


NOBODY = {
    "POSTBACKS_KAFKA": "127.0.0.1:1",
    "POSTBACKS_CLICKHOUSE": "http://default:@127.0.0.1:1/postbacks",
}


@pytest.mark.parametrize(
    ("arguments", "who"),
    [
        (("sql", "SELECT 1"), "ClickHouse"),
        (("message", SAMPLE_ID), "ClickHouse"),
        (("migrate",), "ClickHouse"),
        (("topics",), "Kafka"),
        (("tail",), "Kafka"),
    ],
)
def test_an_engine_that_is_not_there_is_said_in_a_sentence(arguments: tuple[str, ...], who: str) -> None:
    done = command(*arguments, settings=NOBODY)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{who} " in done.stderr.splitlines()[-1]
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stage", ["gateway", "streams", "sinks", "topics", "sql"])
def test_a_wrong_setting_is_refused_by_name_whatever_is_run(stage: str) -> None:
    done = command(
        *([stage, "SELECT 1"] if stage == "sql" else [stage]), settings={"POSTBACKS_OPS": "nonsense"}
    )
    assert done.returncode == 2
    assert done.stderr.startswith("POSTBACKS_OPS=nonsense: must be host:port")


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
