"""Output for programs: JSON, no colours without a terminal, shell completion."""

from __future__ import annotations

import json

import pytest

from runtime.settings import Settings
from tests.support.stack import command


def test_settings_json_has_an_object_for_each() -> None:
    done = command("settings", "--json", settings={"POSTBACKS_PARTITIONS": "32"})
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(listed) == len(Settings.model_fields)
    partitions = next(row for row in listed if row["setting"] == "POSTBACKS_PARTITIONS")
    assert (partitions["here"], partitions["default"]) == ("32", "8")


async def test_topics_json_has_each_topics_configuration(fresh_kafka: str) -> None:
    done = command("topics", "--json", settings={"POSTBACKS_KAFKA": fresh_kafka})
    topics = {topic["name"]: topic for topic in map(json.loads, done.stdout.splitlines())}
    assert len(topics) == 9
    assert topics["messages"]["config"]["cleanup.policy"] == "compact"
    assert {topic["partitions"] for topic in topics.values()} == {8}


@pytest.mark.parametrize(
    "arguments", [("settings",), ("settings", "--json"), ("--help",), ("tail", "--help")]
)
def test_output_has_no_colours_without_a_terminal(arguments: tuple[str, ...]) -> None:
    done = command(*arguments, settings={"TERM": "xterm-256color"})
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("postbacks re", {"reconcile", "replay", "respond"}),
        ("postbacks tail --sta", {"--status"}),
        ("postbacks tail --status del", {"delivered"}),
        ("postbacks local c", {"clickhouse"}),
    ],
)
def test_shell_completes_commands_options_and_values(typed: str, completions: set[str]) -> None:
    completing = {
        "_POSTBACKS_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = command(settings=completing)
    assert {line.removeprefix("plain,") for line in done.stdout.splitlines()} == completions
