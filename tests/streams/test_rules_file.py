"""Rules from TOML: what they mean, and every problem with its line, value and what is allowed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.respond.rules import Answers, Kind
from streams.respond.rules_file import InvalidRules, parse_rules, read_rules
from streams.respond.schedule import Schedule, read_hours, read_zone
from tests.support.auto_responses import rule_lines, rules_of
from tests.support.process import ROOT

GOOD = rule_lines()
HEAD = '[own_numbers]\nacme = ["74121"]\n[[rule]]\naccount = "acme"\n'


def problems(text: str, partitions: int = 8, words: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(InvalidRules) as error:
        parse_rules(text, partitions, words, "rules.toml")
    return str(error.value).splitlines()


def test_rule_has_defaults() -> None:
    (rule,) = rules_of(GOOD).rules
    assert (rule.name, rule.kind, rule.enabled, rule.answers) == ("hours", Kind.TEXT, True, Answers.ALL)
    assert rule.own_numbers == {"74121", "7575449510"}
    assert (rule.period, rule.daily_cap, rule.max_segments) == (timedelta(hours=24), 1000, 1)
    assert rule.keywords == {"hours": "HOURS"}
    assert rule.schedule == Schedule()


def test_numbers_of_rules_are_our_own() -> None:
    rules = rules_of(rule_lines(keywords='["X"]', own_numbers='["1 (404) 555-0100"]'))
    assert rules.rules[0].own_numbers == {"4045550100"}
    assert rules.own_numbers == {"acme": {"74121", "7575449510", "4045550100"}}
    assert rules.is_own_number("4045550100")


def test_opt_out_confirmation_is_off_by_default() -> None:
    kind = {"kind": '"opt_out_confirmation"'}
    assert not rules_of(rule_lines(**kind)).rules[0].enabled
    assert rules_of(rule_lines(**kind, enabled="true")).rules[0].enabled


@pytest.mark.parametrize(("partitions", "cap"), [(1, 1000), (8, 125), (128, 7), (1000, 1)])
def test_daily_cap_is_divided_and_rounded_down(partitions: int, cap: int) -> None:
    (rule,) = rules_of(GOOD, partitions=partitions).rules
    assert rule.partition_cap(partitions) == cap


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('keywords = ["X"]\nperiod = "1w"', 'period = "1w": must be 1 minute to 30 days, such as'),
        ('keywords = ["X"]\nperiod = "31d"', 'period = "31d": must be 1 minute to 30 days'),
        ('keywords = ["X"]\ndaily_cap = 7', "daily_cap = 7: must be at least 8: it is divided"),
        ('keywords = ["X"]\ndaily_cap = true', "daily_cap = true: must be a number from 1 to"),
        ('keywords = ["X"]\nenabled = "yes"', 'enabled = "yes": must be true or false'),
        ('keywords = ["X"]\nkind = "any"', 'kind = "any": must be one of text, help, opt_out_confirmation'),
        ('keywords = ["X"]\nanswers = "reply"', 'answers = "reply": must be one of all, replies, inbound'),
        ('keywords = ["X"]\nhours = "8-17"', 'hours = "8-17": must be two times such as "08:00-17:30"'),
        ('keywords = ["X"]\nhours = "08:00-17:00"', "time_zone is missing: hours and days need one"),
        ('keywords = ["X"]\ntime_zone = "Mars"', 'time_zone = "Mars": must be the name of a time zone'),
        ('keywords = ["X"]\ndays = ["monday"]', 'days = ["monday"]: must be a list of days: mon, tue'),
        ('keywords = ["X"]\nown_numbers = ["42"]', 'own_numbers = ["42"]: must be phone numbers of 5 to 15'),
        ('keywords = ["X"]\nkeyword = 1', "keyword = 1: there is no such key; did you mean keywords?"),
        ('keywords = ["X"]\npattern = "x"', 'pattern = "x": must be left out beside keywords'),
        ('keywords = ["!"]', 'keywords = ["!"]: must be words with letters or digits'),
        ('keywords = ["X", "Stop!"]', "'Stop!' opts out, or may, and is never answered by a keyword"),
        ('keywords = ["stpo"]', "'stpo' opts out, or may, and is never answered by a keyword"),
        ('keywords = ["fin"]', "'fin' opts out, or may, and is never answered by a keyword"),
        ('keywords = ["info"]', "'info' is answered by a rule of kind help only"),
        ('keywords = ["Help, info!"]', "'Help, info!' is answered by a rule of kind help only"),
        ('pattern = "("', 'pattern = "(": must be a regular expression of RE2'),
        ('pattern = "x*"', 'pattern = "x*": must not match an empty text'),
        ("any_text = false", "any_text = false: must be true, or left out"),
        ('kind = "help"\npattern = "x"', 'pattern = "x": must be left out in a rule of kind help'),
        ("", "keywords is missing: a rule has keywords, a pattern, or any_text = true"),
    ],
)
def test_wrong_value_is_named_with_its_line(line: str, problem: str) -> None:
    found = problems(f'{HEAD}name = "n"\ntext = "t"\n{line}\n', words=("FIN",))
    assert len(found) == 1
    wrong = 3 if "is missing" in problem else 7 + line.count("\n")
    assert found[0].startswith(f'rules.toml:{wrong}: rule "n": ')
    assert problem in found[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{name}", "has the unknown placeholder {name}; allowed are {number}, {own_number}, {keyword}"),
        ("{number!r}", "has the unknown placeholder {number}"),
        ("{number.real}", "has the unknown placeholder {number.real}"),
        ("{keyword}", "has {keyword}, which needs keywords"),
        (" {reference}", "must have more than {reference}, which is mostly empty"),
        ("50% {", "has a brace without its pair"),
        ("a" * 161, "takes 2 segments, more than max_segments = 1"),
        ("a" * 151 + "{number}", "takes 2 segments"),
        ("ж" * 71, "takes 2 segments (UCS-2, because of ж)"),
        (" ", "must be a text in quotes"),
    ],
)
def test_text_that_cannot_be_sent_is_refused(text: str, problem: str) -> None:
    (found,) = problems(f'{HEAD}name = "n"\nany_text = true\ntext = "{text}"\n')
    assert found.startswith('rules.toml:7: rule "n": text = ')
    assert problem in found


def test_all_problems_are_reported_in_order() -> None:
    text = (
        'mode = "on"\n[own_numbers]\nAcme = ["74121"]\n\n[[rule]]\nname = "a"\nkeywords = [\n  "A",\n  1\n]\n'
        'text = """\nline\n"""\n[[rule]] # the second\nname = "a"\nany_text = true\naccount = "acme"\n'
    )
    assert [line.partition(": ")[0] for line in problems(text)] == [
        "rules.toml:1",
        "rules.toml:3",
        "rules.toml:5",
        "rules.toml:7",
        "rules.toml:14",
        "rules.toml:14",
        "rules.toml:15",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[rule]]\nname = \n", "rules.toml:2: not valid TOML: "),
        ("[[rule]]\nname = 'a", "rules.toml:2: not valid TOML: "),
        ("", "rules.toml:1: there is no rule: each is a table [[rule]]"),
        ("[rule]\nname = 'a'", "rules.toml:1: there is no rule: each is a table [[rule]]"),
        ("own_numbers = 1\nrule = [1]", "rules.toml:1: own_numbers: must be a table of accounts"),
    ],
)
def test_other_documents_are_refused(text: str, problem: str) -> None:
    assert problems(text)[0].startswith(problem)


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    with pytest.raises(InvalidRules, match="must be a readable file"):
        read_rules(file, 8)
    file.write_bytes(b"\xff")
    with pytest.raises(InvalidRules, match="must be in UTF-8"):
        read_rules(file, 8)


def test_example_has_a_rule_of_each_kind() -> None:
    rules = read_rules(ROOT / "examples" / "rules.toml", 8).rules
    assert {rule.kind for rule in rules} == set(Kind)


@pytest.mark.parametrize(
    ("hours", "zone", "now", "is_open"),
    [
        ("08:00-17:00", "UTC", "2026-11-23T08:00", True),
        ("08:00-17:00", "UTC", "2026-11-23T17:00", False),
        ("17:00-08:00", "UTC", "2026-11-23T17:00", True),
        ("17:00-08:00", "UTC", "2026-11-23T07:59", True),
        ("17:00-08:00", "UTC", "2026-11-23T08:00", False),
        ("08:00-17:00", "America/New_York", "2026-11-23T21:59", True),
        ("08:00-17:00", "America/New_York", "2026-07-23T21:59", False),  # daylight saving time
    ],
)
def test_hours_are_of_the_time_zone(hours: str, zone: str, now: str, is_open: bool) -> None:
    schedule = Schedule(*read_hours(hours), zone=read_zone(zone))
    assert schedule.includes(datetime.fromisoformat(now).replace(tzinfo=UTC)) == is_open


def test_days_are_of_the_time_zone() -> None:
    monday_in_utc = datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert not Schedule(days=frozenset({0}), zone=read_zone("America/New_York")).includes(monday_in_utc)
    assert Schedule(zone=read_zone("America/New_York")).day_of(monday_in_utc) == "2026-11-22"
