"""Which responses are answered, by which rule, and which never."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.postback import Response
from runtime.verdict import Policy
from streams.auto_response import Reason
from streams.contact import Contact, merge_contact
from streams.respond.decide import Decision, RespondOptions, decide, find_objection
from streams.respond.history import History
from streams.respond.records import decision_record, outcome_record
from streams.respond.rules import Rules
from tests.support.auto_responses import HANDSET, auto_response, response, rule_lines, rules_of
from tests.support.contact_events import contact_event
from tests.support.postbacks import START, at

HOURS = rules_of(rule_lines())
ANY = rules_of(rule_lines("any", any_text="true"))
GOODBYE = rules_of(rule_lines("goodbye", kind='"opt_out_confirmation"', enabled="true"))
MINUTE = timedelta(minutes=1)


def judge(
    response: Response,
    rules: Rules = HOURS,
    contact: Contact | None = None,
    history: History | None = None,
    minutes: float = 0,
    **options: Any,
) -> Decision:
    return decide(
        response, contact, rules, history or History(), START + minutes * MINUTE, RespondOptions(**options)
    )


def reason(response: Response, rules: Rules = HOURS, **others: Any) -> Reason:
    return judge(response, rules, **others).reason


def contact(*events: tuple[str, float, str], **others: Any) -> Contact:
    state: Contact | None = None
    for event_id, second, signal in events:
        state = merge_contact(state, contact_event(event_id, second, signal, **others))  # type: ignore[arg-type]
    assert state
    return state


# -- which rule


@pytest.mark.parametrize(
    "text", ["HOURS", " hours? ", "H-o-u-r-s!", "Hours hours", "\uff48\uff4f\uff55\uff52\uff53", "höurs 👍"]
)
def test_keyword_is_recognised_in_any_spelling(text: str) -> None:
    assert judge(response(text)) == Decision(Reason.ANSWER, HOURS.rules[0], "From 8 to 5")


@pytest.mark.parametrize("text", ["your hours", "hours of what", "hour", "", "?"])
def test_other_words_are_no_keyword(text: str) -> None:
    assert reason(response(text)) is Reason.NO_RULE


def test_pattern_is_searched_in_any_case() -> None:
    rules = rules_of(rule_lines(pattern=r"'\border \d+'"))
    assert reason(response("Where is my ORDER 42?"), rules) is Reason.ANSWER
    assert reason(response("reorder 42"), rules) is Reason.NO_RULE


def test_hostile_text_takes_linear_time() -> None:
    rules = rules_of(rule_lines(pattern=r"'(\w+\s?)+$'"))
    assert reason(response("a" * 999 + "!"), rules) is Reason.NO_RULE


def test_first_rule_that_matches_decides() -> None:
    rules = rules_of(
        rule_lines("first", keywords='["HOURS"]', daily_cap="8"), rule_lines("any", any_text="true")
    )
    assert judge(response(), rules).rule == rules.rules[0]
    assert judge(response("hello"), rules).rule == rules.rules[1]
    history = History()
    history.apply(auto_response("a0", rule="first"))
    assert judge(response(), rules, history=history) == Decision(Reason.PERIOD, rules.rules[0])


@pytest.mark.parametrize(
    ("values", "is_reply", "answered"),
    [
        ({"answers": '"replies"'}, True, True),
        ({"answers": '"replies"'}, False, False),
        ({"answers": '"inbound"'}, True, False),
        ({"answers": '"inbound"'}, False, True),
        ({"own_numbers": '["17575449510"]'}, True, False),
        ({"enabled": "false"}, True, False),
        ({"hours": '"12:00-13:00"', "time_zone": '"UTC"'}, True, True),
        ({"hours": '"13:00-12:00"', "time_zone": '"UTC"'}, True, False),
        ({"days": '["mon"]', "time_zone": '"UTC"'}, True, True),
        ({"days": '["sun", "tue"]', "time_zone": '"UTC"'}, True, False),
    ],
)
def test_rule_applies_under_its_conditions(values: dict[str, str], is_reply: bool, answered: bool) -> None:
    rules = rules_of(rule_lines(any_text="true", **values))
    assert reason(response(matched=is_reply), rules) is (Reason.ANSWER if answered else Reason.NO_RULE)


def test_rule_of_another_account_does_not_apply() -> None:
    assert reason(response(account="other"), ANY) is Reason.NO_RULE


@pytest.mark.parametrize("text", ["HELP", "info", "Help!", "ayuda"])
def test_only_help_rule_answers_help(text: str) -> None:
    rules = rules_of(
        rule_lines("any", any_text="true", answers='"replies"'),
        rule_lines("help", kind='"help"', keywords='["AYUDA"]'),
    )
    name = "any" if text == "ayuda" else "help"
    rule = judge(response(text), rules).rule
    assert rule
    assert rule.name == name
    assert reason(response(text), ANY) is (Reason.ANSWER if text == "ayuda" else Reason.NO_RULE)


def test_placeholders_are_filled_in() -> None:
    text = "{{{keyword}}} {number} {own_number} {reference}"
    rules = rules_of(rule_lines(text=text, keywords='["Opening Hours"]'))
    answer = judge(response("OPENING-HOURS", reference_id="A\n{number}"), rules).text
    assert answer == "{Opening Hours} 7575550100 74121 A {number}"


def test_reference_of_an_answer_is_not_repeated() -> None:
    rules = rules_of(rule_lines(text="Order {reference}.", keywords='["HOURS"]'))
    assert judge(response(reference_id=f"respond-{'4f' * 16}"), rules).text == "Order ."


@pytest.mark.parametrize(
    ("text", "keyword"),
    [("hour", "HOUR"), ("Hours?", "Hours"), ("hour, hours", "HOUR"), ("hours hour", "Hours")],
)
def test_keyword_that_begins_another_is_told_apart(text: str, keyword: str) -> None:
    rules = rules_of(rule_lines(text="{keyword}", keywords='["HOUR", "Hours"]'))
    assert judge(response(text), rules).text == keyword


def test_text_too_long_with_its_values_is_not_sent() -> None:
    rules = rules_of(rule_lines(text="a" * 150 + "{reference}", any_text="true"))
    assert reason(response(reference_id="A-1"), rules) is Reason.ANSWER
    assert reason(response(reference_id="A-123456789"), rules) is Reason.TOO_LONG
    assert reason(response(reference_id="ж"), rules) is Reason.TOO_LONG


# -- never


@pytest.mark.parametrize(
    ("never", "expected"),
    [
        (response(marker="0"), Reason.NOT_A_RESPONSE),
        (response(marker="true"), Reason.NOT_A_RESPONSE),
        (response(from_number=""), Reason.NO_NUMBER),
        (response(from_number="88588"), Reason.SHORT_CODE),
        (response(from_number="312045"), Reason.SHORT_CODE),
        (response(from_number="17575449510"), Reason.OWN_NUMBER),
        (response(from_number="74121"), Reason.OWN_NUMBER),
        (response("STOP"), Reason.OPT_OUT),
        (response("Stop!!"), Reason.OPT_OUT),
        (response("please stop texting me"), Reason.SUSPECTED),
        (response("wrong number"), Reason.SUSPECTED),
        (response("stop help"), Reason.SUSPECTED),
    ],
)
def test_is_never_answered(never: Response, expected: Reason) -> None:
    assert reason(never, ANY) is expected


def test_own_word_opts_out() -> None:
    assert reason(response("fin"), ANY, opt_out_words=("FIN",)) is Reason.OPT_OUT


@pytest.mark.parametrize(
    ("received", "sent", "expected"),
    [
        (-599, -600, Reason.ANSWER),
        (-601, -601, Reason.TOO_OLD),
        (0, -601, Reason.TOO_OLD),  # a late repetition
        (-601, 0, Reason.TOO_OLD),
        (-600, None, Reason.ANSWER),
        (-601, None, Reason.TOO_OLD),
        (601, None, Reason.TOO_OLD),
        (1, 3600, Reason.ANSWER),
    ],
)
def test_older_than_ten_minutes_is_not_answered(received: int, sent: int | None, expected: Reason) -> None:
    old = response(second=received, occurred_at=None if sent is None else at(sent))
    assert reason(old) is expected


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ("opted_out", Reason.CONTACT_OPTED_OUT),
        ("suspected", Reason.CONTACT_SUSPECTED),
        ("opted_in", Reason.ANSWER),
        ("yes", Reason.ANSWER),
    ],
)
def test_contact_that_opted_out_is_not_answered(signal: str, expected: Reason) -> None:
    assert reason(response(), contact=contact(("e1", -60, signal))) is expected


def test_opt_in_counts_before_it_is_merged() -> None:
    opted_out = contact(("e1", -60, "opted_out"))
    rules = rules_of(rule_lines(keywords='["START", "YES"]'))
    assert reason(response("START"), rules, contact=opted_out) is Reason.ANSWER
    assert reason(response("YES"), rules, contact=opted_out) is Reason.CONTACT_OPTED_OUT
    assert reason(response("YES"), rules, contact=opted_out, policy=Policy(yes_opts_in=True)) is Reason.ANSWER


def test_duplicate_is_not_answered() -> None:
    for record in (auto_response(), auto_response(outcome="declined"), auto_response(outcome="not_sent")):
        history = History()
        history.apply(record)
        assert reason(response(), history=history) is Reason.DUPLICATE
        assert reason(response(event_id="a2"), history=history, minutes=24 * 60) is Reason.TOO_OLD


# -- caps


def test_handset_gets_one_answer_in_a_period() -> None:
    rules = rules_of(rule_lines(keywords='["HOURS"]', period='"30m"'))
    history = History()
    history.apply(auto_response("a0", 0))
    for minutes, expected in ((0, Reason.PERIOD), (29.9, Reason.PERIOD), (30, Reason.ANSWER)):
        late = response(second=minutes * 60)
        assert reason(late, rules, history=history, minutes=minutes) is expected
        other = replace(late, from_number="14045550199")
        assert reason(other, rules, history=history, minutes=minutes) is Reason.ANSWER


def test_what_was_not_sent_does_not_count() -> None:
    history = History()
    intent = auto_response("a0")
    for outcome in ("unknown", "not_sent"):
        history.apply(intent)
        assert reason(response(), history=history) is Reason.PERIOD
        history.apply(outcome_record(intent, outcome, START))
    assert reason(response(), history=history) is Reason.ANSWER
    assert history.count("hours", "2026-11-23") == 0


def test_daily_cap_ends_at_midnight_of_the_rule() -> None:
    rules = rules_of(rule_lines(any_text="true", daily_cap="23", time_zone='"America/New_York"'))
    history = History()
    for number in range(2):
        history.apply(auto_response(f"b{number}", number=f"404555000{number}", rule="hours"))
    for minutes, expected in (
        (0, Reason.DAILY_CAP),
        (17 * 60 - 1, Reason.DAILY_CAP),
        (17 * 60, Reason.ANSWER),
    ):
        late = response(second=minutes * 60)
        assert reason(late, rules, history=history, minutes=minutes, partitions=8) is expected


def test_dry_run_counts_only_for_dry_runs() -> None:
    record = auto_response("a0", outcome="declined", reason="dry_run", attempt="")
    for counts in (True, False):
        history = History(counts_dry_runs=counts)
        history.apply(record)
        assert reason(response(), history=history) is (Reason.PERIOD if counts else Reason.ANSWER)


# -- the confirmation of an opt-out


@pytest.mark.parametrize(
    ("text", "seconds", "expected"),
    [
        ("STOP", 0, Reason.ANSWER),
        ("unsubscribe.", 300, Reason.ANSWER),
        ("STOP", 301, Reason.TOO_OLD),
        ("stpo", 0, Reason.SUSPECTED),
        ("hello", 0, Reason.NO_RULE),
    ],
)
def test_only_certain_opt_out_is_confirmed_in_time(text: str, seconds: int, expected: Reason) -> None:
    assert reason(response(text), GOODBYE, minutes=seconds / 60) is expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], Reason.ANSWER),
        ([("a1", 0, "opted_out")], Reason.ANSWER),  # its own event
        ([("e1", -60, "suspected")], Reason.ANSWER),
        ([("e1", 60, "opted_out")], Reason.ANSWER),  # a later one, which is not confirmed
        ([("e1", 60, "opted_in")], Reason.CONTACT_OPTED_OUT),
        ([("a0", 0, "opted_out")], Reason.CONTACT_OPTED_OUT),  # at the same time
        ([("e1", -60, "opted_out")], Reason.CONTACT_OPTED_OUT),
        ([("e1", -60, "opted_out"), ("a1", 0, "opted_out")], Reason.CONTACT_OPTED_OUT),
        ([("e1", -60, "opted_out"), ("e2", -30, "opted_in")], Reason.ANSWER),
        ([("e1", -60, "opted_in"), ("e2", -30, "opted_out")], Reason.CONTACT_OPTED_OUT),
        ([(f"e{n:03}", n - 200, "opted_in") for n in range(100)], Reason.CONTACT_OPTED_OUT),
    ],
)
def test_each_opt_out_is_confirmed_once(before: list[tuple[str, float, str]], expected: Reason) -> None:
    known = contact(*before) if before else None
    assert reason(response("STOP"), GOODBYE, contact=known) is expected


def test_scope_decides_which_opt_outs_were_before() -> None:
    known = contact(("e1", -60, "opted_out"), own_number="7575449510")
    assert reason(response("STOP"), GOODBYE, contact=known) is Reason.CONTACT_OPTED_OUT
    by_number = Policy("number")
    assert reason(response("STOP"), GOODBYE, contact=known, policy=by_number) is Reason.ANSWER


# -- immediately before the call


def objection(minutes: float = 0, known: Contact | None = None, text: str = "HOURS") -> Reason | None:
    rules = HOURS if text == "HOURS" else GOODBYE
    history, answered = History(), response(text)
    intent = decision_record(answered, judge(answered, rules), "x1", START)
    history.apply(intent)
    now = START + minutes * MINUTE
    return find_objection(intent, answered, known, rules.rules[0], history, now, RespondOptions())


def test_intent_is_checked_again_before_the_call() -> None:
    assert objection() is None
    assert objection(10.1) is Reason.TOO_OLD
    assert objection(known=contact(("e1", 1, "opted_out"))) is Reason.CONTACT_OPTED_OUT
    assert objection(known=contact(("e1", 1, "suspected"))) is Reason.CONTACT_SUSPECTED
    assert objection(text="STOP", known=contact(("a1", 0, "opted_out"))) is None
    assert objection(5.1, text="STOP") is Reason.TOO_OLD


def test_records_tell_what_was_decided() -> None:
    record = decision_record(response(), judge(response()), "x1", START)
    assert (record.outcome, record.reason, record.rule, record.day) == ("intent", "", "hours", "2026-11-23")
    assert (record.number, record.own_number, record.attempt) == (HANDSET, "74121", "x1")
    dry_run = Decision(Reason.DRY_RUN, HOURS.rules[0], "From 8 to 5")
    record = decision_record(response(), dry_run, "x1", START)
    assert (record.outcome, record.reason, record.attempt, record.text) == (
        "declined",
        "dry_run",
        "",
        dry_run.text,
    )
    record = decision_record(response(), judge(response("hello")), "x1", START)
    assert (record.outcome, record.reason, record.rule, record.text) == ("declined", "no_rule", "", "")
