"""Time comes for messages: overdue ones are marked once, silent ones are let go of."""

from __future__ import annotations

from datetime import datetime, timedelta

from streams.change import Change
from streams.message import Message, decode_message, encode_message, merge, state_of
from streams.sweep import LONGEST_ROUND, Sweep
from tests.support.postbacks import START, receipt, sent

KEY = b"acme/message"
LIMIT, FORGET = timedelta(hours=72), timedelta(days=14)
AWAITING = state_of(sent(from_number="74121"))


def after(**time: float) -> datetime:
    return START + timedelta(**time)


def sweep() -> Sweep:
    return Sweep(LIMIT, FORGET)


def judged(message: Message, now: datetime) -> Change | None:
    return sweep().judge([(KEY, encode_message(message))], now).get(KEY)


def test_a_message_from_a_short_code_without_a_receipt_is_marked_overdue_once() -> None:
    assert judged(AWAITING, after(hours=71)) is None
    change = judged(AWAITING, after(hours=73))
    assert change
    assert change.value
    marked = decode_message(change.value)
    assert marked.overdue_at == "2026-11-26T12:00:00.000Z"
    assert (change.status, change.previous) == ("sent", "sent")
    assert judged(marked, after(hours=74)) is None


def test_a_receipt_in_time_or_a_long_number_is_never_overdue() -> None:
    assert judged(merge(AWAITING, receipt(second=60)), after(hours=73)) is None
    assert judged(state_of(sent(from_number="17575449510")), after(hours=73)) is None


def test_after_two_weeks_of_silence_a_tombstone_that_tells_the_status_before() -> None:
    assert judged(state_of(receipt(code="000")), after(days=14, seconds=-1)) is None
    assert judged(state_of(receipt(code="000")), after(days=14)) == Change(None, "", "delivered")


def test_what_is_gone_by_now_is_left_alone() -> None:
    assert sweep().judge([(KEY, None)], after(days=99)) == {}


def test_a_deadline_far_away_is_left_to_a_later_round() -> None:
    looking = sweep()
    assert looking.look([(KEY, encode_message(AWAITING))], after(hours=1)) == []
    assert looking.due(after(hours=73), 10) == []


def test_a_deadline_before_the_next_round_ends_is_remembered_and_comes_once() -> None:
    looking = sweep()
    for _ in range(2):  # two rounds see it
        assert looking.look([(KEY, encode_message(AWAITING))], after(hours=71)) == []
    assert looking.due(after(hours=71, minutes=59), 10) == []
    assert looking.due(after(hours=72), 10) == [KEY]
    assert looking.due(after(hours=73), 10) == []


def test_what_is_long_due_is_found_at_the_first_look() -> None:
    looking = sweep()
    old = [(b"%d" % n, encode_message(AWAITING)) for n in range(5)]
    looking.look(old, after(hours=100))
    assert sorted(looking.due(after(hours=100), 3) + looking.due(after(hours=100), 3)) == [
        key for key, _ in old
    ]
    assert looking.look([(KEY, encode_message(AWAITING))], after(days=20)) == [KEY], "to let go of"


def test_rounds_are_short_beside_the_limits_and_never_longer_than_an_hour() -> None:
    assert sweep().round == LONGEST_ROUND
    assert Sweep(timedelta(seconds=10), FORGET).round == timedelta(seconds=0.5)
    assert Sweep(LIMIT, timedelta(seconds=20)).round == timedelta(seconds=1)
