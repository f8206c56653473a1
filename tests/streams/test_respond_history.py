"""What the topic `auto_responses` allows to send: each event once, and never more often than the caps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from itertools import pairwise

from hypothesis import event, given, settings
from hypothesis import strategies as st

from gateway.postback import Response, format_time
from streams.auto_response import AutoResponse, Outcome, Reason, join_auto_responses
from streams.respond.decide import RespondOptions, decide, find_objection
from streams.respond.history import History
from streams.respond.records import decision_record, outcome_record
from tests.support.auto_responses import (
    OUTCOMES,
    auto_response,
    auto_responses,
    response,
    rule_lines,
    rules_of,
)
from tests.support.postbacks import START, at

PERIOD, DAILY_CAP = timedelta(minutes=5), 2
RULES = rules_of(
    rule_lines("hours", keywords='["HOURS"]', period='"5m"', daily_cap=str(DAILY_CAP)),
    rule_lines("any", any_text="true", period='"5m"', daily_cap=str(DAILY_CAP)),
    partitions=1,
)
OPTIONS = RespondOptions(partitions=1)


def history_of(*records: AutoResponse) -> History:
    history = History()
    for record in records:
        history.apply(record)
    return history


def objection(history: History, intent: AutoResponse) -> Reason | None:
    return history.objection(intent, PERIOD, 3)


def test_only_first_record_of_an_event_may_be_sent() -> None:
    first, second = auto_response(attempt="x1"), auto_response(attempt="x2")
    history = history_of(first, second, first)
    assert objection(history, first) is None
    assert objection(history, second) is Reason.DUPLICATE
    assert (
        objection(history_of(auto_response(outcome="declined", attempt=""), first), first) is Reason.DUPLICATE
    )


def test_intent_that_is_not_stored_is_not_sent() -> None:
    """Whether an append that failed landed all the same is told by its attempt id."""
    assert objection(history_of(auto_response("a2")), auto_response("a1")) is Reason.NOT_STORED
    assert objection(history_of(auto_response(attempt="x2")), auto_response(attempt="x1")) is Reason.DUPLICATE


def test_intent_with_an_outcome_is_not_sent_again() -> None:
    for outcome in OUTCOMES[2:]:
        history = history_of(auto_response(), auto_response(outcome=outcome))
        assert objection(history, auto_response()) is Reason.DUPLICATE


def test_place_in_the_topic_decides_about_caps() -> None:
    intents = [auto_response(f"a{n}", attempt=f"x{n}", number=f"404555010{n // 2}") for n in range(8)]
    history = history_of(*intents)
    assert [objection(history, intent) for intent in intents] == [
        *(None, Reason.PERIOD, None, Reason.PERIOD),
        *(Reason.DAILY_CAP, Reason.PERIOD, Reason.DAILY_CAP, Reason.PERIOD),
    ]


def test_second_intent_does_not_hide_the_first() -> None:
    first, second = auto_response(attempt="x1"), auto_response(attempt="x2")
    history = history_of(first, second)
    assert (history.may_close(first), history.may_close(second)) == (True, False)
    assert history_of(auto_response(outcome="declined", attempt=""), second).may_close(second)
    assert not History().may_close(first)


def test_intents_without_outcome_are_unresolved() -> None:
    history = history_of(auto_response("a1"), auto_response("a2"), auto_response("a3", outcome="declined"))
    assert [record.event_id for record in history.unresolved()] == ["a1", "a2"]
    history.apply(auto_response("a1", outcome="unknown"))
    assert [record.event_id for record in history.unresolved()] == ["a2"]


def test_event_without_provider_time_is_known_for_longer() -> None:
    timed, untimed = (
        auto_response("a1", outcome="accepted"),
        auto_response("a2", occurred_at=None, outcome="accepted"),
    )
    unresolved, ahead = auto_response("a3"), auto_response("a4", occurred_at=at(3600), outcome="accepted")
    for days, known in ((0.01, {"a1", "a2", "a3", "a4"}), (1, {"a2", "a3", "a4"}), (31, {"a3"})):
        history = history_of(timed, untimed, unresolved, ahead)
        history.evict(START + timedelta(days=days))
        assert {name for name in ("a1", "a2", "a3", "a4") if history.find("acme", name)} == known


def test_caps_outlast_evicted_events() -> None:
    history = history_of(auto_response("a1", outcome="accepted"))
    history.evict(START + timedelta(hours=2))
    assert history.last_answer("acme", "7575550100", "hours") == at(0)
    assert history.count("hours", "2026-11-23") == 1
    history.evict(START + timedelta(days=31))
    assert history.last_answer("acme", "7575550100", "hours") is None
    assert history.count("hours", "2026-11-23") == 0


@given(st.lists(auto_responses(), max_size=12), st.integers(0, 12))
def test_records_read_again_change_nothing(records: list[AutoResponse], offset: int) -> None:
    once, again = history_of(*records), history_of(*records, *records[offset:])
    for record in records:
        assert objection(once, record) == objection(again, record)
        assert once.find("acme", record.event_id) == again.find("acme", record.event_id)
        assert once.last_answer("acme", record.number, record.rule) == again.last_answer(
            "acme", record.number, record.rule
        )
    assert once.count("hours", "2026-11-23") == again.count("hours", "2026-11-23")


# -- several workers at the same time, killed at any point


@dataclass
class Topic:
    """A partition of `auto_responses`, and the provider."""

    records: list[AutoResponse] = field(default_factory=list)
    #: The intents for which the provider was called, and may have queued a message.
    sent: list[AutoResponse] = field(default_factory=list)


@dataclass
class Worker:
    """What a worker does, one step at a time."""

    name: str
    topic: Topic
    history: History = field(default_factory=History)
    applied: int = 0
    attempts: int = 0
    intents: list[tuple[AutoResponse, Response]] = field(default_factory=list)

    def read(self) -> None:
        for record in self.topic.records[self.applied :]:
            self.history.apply(record)
        self.applied = len(self.topic.records)

    def receive(self, received: Response, copies: int, now: datetime) -> None:
        """Decide, by what was read up to now, and append the decision so many times (0: it was lost)."""
        self.attempts += 1
        decision = decide(received, None, RULES, self.history, now, OPTIONS)
        record = decision_record(received, decision, f"{self.name}{self.attempts}", now)
        self.topic.records += [record] * copies
        if decision.reason is Reason.ANSWER:
            self.intents.append((record, received))

    def send(self, outcome: Outcome | None, now: datetime) -> None:
        """Check the oldest intent and send it; None: killed between the call and the outcome."""
        if not self.intents:
            return
        self.read()
        intent, received = self.intents.pop(0)
        rule = RULES.get(intent.rule)
        assert rule
        reason = find_objection(intent, received, None, rule, self.history, now, OPTIONS)
        event(f"objection: {reason}")
        if reason is None:
            assert not {other.outcome for other in self.topic.records if other.attempt == intent.attempt} - {
                "intent"
            }
            if outcome != "not_sent":
                self.topic.sent.append(intent)
            if outcome:
                self.topic.records.append(outcome_record(intent, outcome, now))
        elif self.history.may_close(intent):
            self.topic.records.append(outcome_record(intent, "not_sent", now, reason=reason))

    def restart(self, now: datetime) -> None:
        self.history, self.applied, self.intents = History(), 0, []
        self.read()
        self.history.evict(now)
        self.topic.records += [outcome_record(intent, "unknown", now) for intent in self.history.unresolved()]


steps = st.lists(
    st.tuples(
        st.sampled_from(("receive", "receive", "read", "send", "send", "restart")),
        st.integers(0, 2),  # the worker
        st.integers(0, 11),  # the event
        st.sampled_from((1, 1, 1, 2, 0)),  # how often the append lands
        st.sampled_from(("accepted", "accepted", "refused", "unknown", "not_sent", None)),
        st.sampled_from((0, 0, 0, 1, 3, 70)),  # minutes that pass
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(steps)
def test_workers_at_once_never_send_twice(
    story: list[tuple[str, int, int, int, Outcome | None, int]],
) -> None:
    topic, now = Topic(), START
    workers = [Worker(name, topic) for name in "ABC"]
    sent_at: dict[int, str] = {}  # by the provider's clock: the same in each repetition
    for step, index, number, copies, outcome, minutes in story:
        now += timedelta(minutes=minutes)
        worker = workers[index]
        if step == "receive":
            received = response(
                ("HOURS", "hello")[number // 4 % 2],
                f"e{number}",
                from_number=f"1404555010{number % 4}",
                received_at=format_time(now),
                occurred_at=sent_at.setdefault(number, format_time(now)) if number < 8 else None,
            )
            worker.receive(received, copies, now)
        elif step == "read":
            worker.read()
        elif step == "send":
            worker.send(outcome, now)
        else:
            worker.restart(now)
    assert max(Counter(intent.event_id for intent in topic.sent).values(), default=0) <= 1
    for intent in topic.sent:
        known = reduce(
            join_auto_responses, (each for each in topic.records if each.event_id == intent.event_id)
        )
        assert known.outcome in ("intent", "unknown", "refused", "accepted")
    by_day = Counter((intent.rule, intent.day) for intent in topic.sent)
    assert max(by_day.values(), default=0) <= DAILY_CAP
    for key in {(intent.number, intent.rule) for intent in topic.sent}:
        times = sorted(intent.at for intent in topic.sent if (intent.number, intent.rule) == key)
        for earlier, later in pairwise(map(datetime.fromisoformat, times)):
            assert later - earlier >= PERIOD
