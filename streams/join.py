"""Joins two states of a message: commutative, associative, idempotent.

ClickHouse runs the same join (`sinks/schema`), and a test compares the two.
"""

from __future__ import annotations

from copy import copy
from functools import reduce
from typing import TypeAlias

from gateway.postback import Time
from streams.facts import with_fact
from streams.message import Message
from streams.status import derive

#: The rank of the type of event that a value comes from, and the value. The lowest wins.
Ranked: TypeAlias = tuple[int, str]


def join(a: Message, b: Message) -> Message:
    """Return the least upper bound of two states; `a` itself if `b` adds nothing."""
    state = copy(a)
    state.version = max(a.version, b.version)
    if b.direction == "outbound":
        state.direction = "outbound"
    join_identity(
        state, (b.reference_rank, b.reference_id), (b.from_rank, b.from_number), (b.to_rank, b.to_number)
    )
    widen_seen(state, b.first_seen_at, b.last_seen_at)
    state.sent_at = earliest(a.sent_at, b.sent_at)
    state.carrier_at = earliest(a.carrier_at, b.carrier_at)
    state.delivered_at = earliest(a.delivered_at, b.delivered_at)
    state.failed_at = earliest(a.failed_at, b.failed_at)
    state.replied_at = earliest(a.replied_at, b.replied_at)
    state.overdue_at = earliest(a.overdue_at, b.overdue_at)
    state.attempts = reduce(with_fact, b.attempts, a.attempts)
    state.receipts = reduce(with_fact, b.receipts, a.receipts)
    state.replies = reduce(with_fact, b.replies, a.replies)
    if b.submissions:
        _join_submissions(state, b)
    derive(state)
    return a if state == a else state


def _join_submissions(state: Message, other: Message) -> None:
    state.unsent_at = _join_unsent(state, other)
    state.submissions = reduce(with_fact, other.submissions, state.submissions)
    state.submitted_at = earliest(state.submitted_at, other.submitted_at)
    state.withdrawn_at = earliest(state.withdrawn_at, other.withdrawn_at)
    state.submission_error = max(state.submission_error, other.submission_error)
    state.scheduled_for = latest(state.scheduled_for, other.scheduled_for)
    state.text = max(state.text, other.text)


def _join_unsent(a: Message, b: Message) -> Time | None:
    """A mark counts only with the scheduled time that it was derived from: the later one is right."""
    of_a, of_b = a.scheduled_for or "", b.scheduled_for or ""
    if of_a == of_b:
        return earliest(a.unsent_at, b.unsent_at)
    return a.unsent_at if of_a > of_b else b.unsent_at


def join_identity(state: Message, reference: Ranked, from_number: Ranked, to_number: Ranked) -> None:
    """Adopt values of a better (lower) rank; an empty value has no source, so its rank stays 0."""
    if reference[1] and (not state.reference_id or reference < (state.reference_rank, state.reference_id)):
        state.reference_rank, state.reference_id = reference
    if from_number[1] and (not state.from_number or from_number < (state.from_rank, state.from_number)):
        state.from_rank, state.from_number = from_number
    if to_number[1] and (not state.to_number or to_number < (state.to_rank, state.to_number)):
        state.to_rank, state.to_number = to_number


def widen_seen(state: Message, first: Time, last: Time) -> None:
    if first < state.first_seen_at:
        state.first_seen_at = first
    if last > state.last_seen_at:
        state.last_seen_at = last


def earliest(a: Time | None, b: Time | None) -> Time | None:
    if a is None or (b is not None and b < a):
        return b
    return a


def latest(a: Time | None, b: Time | None) -> Time | None:
    if a is None or (b is not None and b > a):
        return b
    return a
