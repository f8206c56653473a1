"""What a run of automatic responses expects, and its faults; without engines."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

from simulator.customer import QUESTIONS, REPLIES, Customer
from simulator.replies import TEXTS
from streams.respond.matching import Incoming, find_mismatch
from streams.respond.rules_file import read_rules
from tests.chaos.respond_expected import Expected, Written, expect_answers
from tests.chaos.respond_faults import plan_respond_faults
from tests.chaos.respond_plan import TEXTS as PLANNED
from tests.chaos.respond_texts import CAPS, CONTINUED, PERIODS, meaning_of
from tests.chaos.responses import KEYWORDS, RULES
from tests.chaos.test_respond_check import written
from tests.support.auto_responses import response

NIGHT, DAY = (datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in (7, 18))


def expected(*responses: Written, margin: float = 10) -> Expected:
    return expect_answers(responses, margin)


def test_opt_out_decides_what_is_wanted() -> None:
    stop, hours = written("s", "STOP"), written("h", "HOURS", 60)
    assert not expected(stop, hours).candidates
    assert expected(stop, written("r", "START", 30), hours).wanted
    near = expected(stop, hours, margin=61)
    assert ([*near.candidates], near.wanted) == (["h"], [])
    assert expected(hours, written("s", "STOP", 120)).wanted


def test_one_answer_is_wanted_within_a_period() -> None:
    responses = [written(f"h{second}", "HELP", second) for second in (0, 50, 300)]
    assert [wanted.event_ids for wanted in expected(*responses).wanted] == [("h0", "h50"), ("h300",)]


def test_texts_mean_what_the_rules_say() -> None:
    rules = read_rules(RULES, 8).rules
    assert {rule.name: rule.period.total_seconds() for rule in rules if rule.enabled} == PERIODS
    assert {rule.name: rule.daily_cap for rule in rules if rule.enabled} == CAPS
    keywords = [keyword for rule in rules for keyword in rule.keywords.values()]
    asked = {*Customer.with_answers((), KEYWORDS).texts, *Customer.with_answers((), keywords).texts}
    texts = {*REPLIES, *QUESTIONS, *TEXTS, *PLANNED, *asked}
    for text in texts | {CONTINUED + text for text in texts}:
        for own_number in ("74121", "7575449510", "88588"):
            for is_reply, now in ((True, NIGHT), (False, NIGHT), (False, DAY)):
                meaning = meaning_of(text, own_number, is_reply, now.timestamp())
                asking = response(text, to_number=own_number, matched=is_reply, account="default")
                incoming = Incoming.of(asking, ())
                matching = [rule.name for rule in rules if find_mismatch(rule, incoming, now) is None]
                forbidden = incoming.signal in ("opted_out", "suspected")
                what = text, own_number, is_reply, now, meaning, incoming.signal
                assert not meaning.is_certain or meaning.rule == (
                    "" if forbidden else "".join(matching[:1])
                ), what
                assert meaning.signal == "unclear" or forbidden == (meaning.signal == "blocking"), what
                assert (meaning.signal == "opting_in") == (incoming.signal == "opted_in"), what


def test_faults_are_as_many_as_asked_for() -> None:
    names = ("responder-1", "responder-2")
    faults = plan_respond_faults(1, 300, 20, 5, names, session_timeout=6)
    assert faults == plan_respond_faults(1, 300, 20, 5, names, session_timeout=6)
    responders = [fault for fault in faults if fault.target in names]
    assert Counter(fault.kind for fault in responders) == {"kill": 20, "freeze": 5}
    assert all(fault.duration > 6 for fault in responders if fault.kind == "freeze")
    assert any(fault.target == "streams-1" for fault in faults)
    for name in names:
        own = [fault for fault in responders if fault.target == name]
        assert all(first.until <= second.at for first, second in pairwise(own))
