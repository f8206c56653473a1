"""The rules, commands, keys and reasons of docs/auto-responses.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.__main__ import postbacks
from runtime.settings import load_settings
from streams.auto_response import Reason
from streams.respond.fields import READERS
from streams.respond.rules_file import parse_rules
from tests.support.process import ROOT

PAGE = (ROOT / "docs" / "auto-responses.md").read_text()
RULES = "\n".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = re.findall(r"```\n\$ (.*?)\n(.*?)```", PAGE, re.DOTALL)


def first_cells(heading: str) -> set[str]:
    """The names in the first column of the table below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(.*?)`", row.split("|")[1])}


@pytest.mark.parametrize(("line", "output"), COMMANDS)
def test_commands_print_what_the_page_shows(line: str, output: str, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    arguments = shlex.split(line)[1:]
    arguments[arguments.index("rules.toml")] = str(tmp_path / "rules.toml")
    done = CliRunner().invoke(postbacks, arguments, obj=lambda: load_settings({}))
    assert done.output.split() == output.split()


def test_page_lists_every_key_of_a_rule() -> None:
    assert len(parse_rules(RULES, 8).rules) == 4
    assert first_cells("Rules") == set(READERS)


def test_page_lists_every_reason() -> None:
    assert first_cells("What is never answered") == set(Reason) - {Reason.ANSWER}
