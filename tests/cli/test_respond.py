"""`postbacks respond check`: which rule would answer a text, and why or why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import postbacks
from runtime.errors import StartupError
from runtime.settings import load_settings
from tests.support.process import ROOT

EXAMPLE = ROOT / "examples" / "rules.toml"
HANDSET = "17575449511"


def check(text: str, *options: str, rules: Path = EXAMPLE, **settings: str) -> Result:
    variables = {f"POSTBACKS_{name.upper()}": value for name, value in settings.items()}
    return CliRunner().invoke(
        postbacks,
        ["respond", "check", str(rules), text, "--from", HANDSET, *options],
        obj=lambda: load_settings(variables),
        terminal_width=80,
    )


@pytest.mark.parametrize(
    ("text", "options", "rule"),
    [
        ("HOURS", ("--to", "74121"), "hours"),
        ("open?", ("--to", "1 (757) 544-9510"), "hours"),
        ("info", ("--to", "74121"), "help"),
        ("Where is my order?", ("--to", "74121", "--reference", "A-12"), "where-is-my-order"),
        ("hi", ("--to", "17575449510", "--inbound", "--at", "2026-11-28T23:00-05:00"), "closed"),
    ],
)
def test_rule_that_answers_is_named(text: str, options: tuple[str, ...], rule: str) -> None:
    done = check(text, *options)
    assert done.exit_code == 0, done.output
    assert [line.split("\t")[1] for line in done.output.splitlines() if line.startswith("yes\t")] == [rule]
    assert f"Answer of {rule} (1 segment, GSM-7):\n" in done.output


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("hello", (), "the text is none of its keywords: HOURS, OPEN"),
        ("hello", (), "its pattern is not in the text: \\bwhere\\b.*\\border\\b"),
        ("hello", (), "No answer: no rule matches"),
        ("STOP", (), "No answer: the text opts out, and no rule confirms that"),
        ("please stop", (), "No answer: the text may be an opt-out"),
        ("HOURS", ("--from", "88588"), "No answer: the sender is a short code"),
        ("HOURS", ("--from", "7575449510"), "No answer: the sender is one of your own numbers"),
        ("hi", ("--inbound", "--at", "2026-11-28T12:00-05:00"), "22:00-11:00 America/New_York"),
        ("HOURS", ("--account", "other"), "the account is another one: default"),
    ],
)
def test_reason_against_an_answer_is_printed(text: str, options: tuple[str, ...], why: str) -> None:
    done = check(text, "--to", "17575449510", *options)
    assert done.exit_code == 1, done.output
    assert why in done.output


@pytest.mark.parametrize("number", ["ACME5551234", "123456789012345678", "0017575449511", "", "911"])
def test_sender_must_be_a_phone_number(number: str) -> None:
    done = check("HOURS", "--to", "74121", "--from", number)
    assert done.exit_code == 2
    assert f"--from {number!r}: must be a phone number" in " ".join(done.output.split())


def test_settings_decide_what_opts_out(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[rule]]\nname = "any"\nown_numbers = ["74121"]\nany_text = true\ntext = "Hi {number}"\n'
    )
    assert check("adios", rules=rules).output.endswith("Hi 7575449511\n")
    assert "the text opts out" in check("adios", rules=rules, opt_out_words="ADIOS").output


def test_rule_that_must_not_answer_is_no_match() -> None:
    done = check("Where is my order? STOP", "--to", "74121")
    assert "no\twhere-is-my-order\tpattern \\bwhere\\b.*\\border\\b, but see below" in done.output


def test_later_rule_that_matches_is_shown(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    any_text = 'own_numbers = ["74121"]\nany_text = true\ntext = "[red]"\n'
    rules.write_text(f'[[rule]]\nname = "a"\n{any_text}[[rule]]\nname = "b"\n{any_text}')
    assert check("hi", rules=rules).output.splitlines() == [
        "yes\ta\tany text",
        "no\tb\tany text, but a rule before it matches, too",
        "",
        "Answer of a (1 segment, GSM-7):",
        "[red]",
    ]


def test_number_and_account_are_required_if_ambiguous() -> None:
    done = check("HOURS")
    assert done.exit_code == 2
    assert "--to is required: default has the numbers 74121, 7575449510" in done.output


def test_wrong_rules_are_refused_with_lines(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "a"\nperiod = "1w"\n')
    error = check("HOURS", rules=rules).exception
    assert isinstance(error, StartupError)
    assert f'{rules}:3: rule "a": period = "1w": must be 1 minute to 30 days' in str(error)


def test_page_of_check_fits_the_terminal() -> None:
    page = CliRunner().invoke(postbacks, ["respond", "check", "--help"], terminal_width=80).output
    assert "Example:\n    postbacks respond check" in page
    assert all(len(line) <= 80 for line in page.splitlines())
