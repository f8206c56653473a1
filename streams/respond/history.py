"""What the records of one partition of `auto_responses` say, read in their order. Pure.

An event's first record decides: nothing but its own attempt may lead to a call. An intent counts to the caps
of its rule from its place in the topic on, whatever comes of it, unless it certainly was not sent. So workers
that write at the same time see the same order, and the later one finds that a cap is reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from gateway.postback import Time, format_time
from streams.auto_response import AutoResponse, Reason, join_auto_responses
from streams.respond.fields import MAX_PERIOD

#: A repetition after this time is too old for an answer, if it tells the provider's time, and that is at most
#: `MAX_AHEAD` of ours; others are known for as long as the topic is retained.
KNOWN_FOR, MAX_AHEAD = timedelta(hours=1), timedelta(minutes=30)


class EventKey(NamedTuple):
    account: str
    event_id: str


class _HandsetRule(NamedTuple):
    account: str
    number: str
    rule: str


@dataclass
class _EventHistory:
    first: AutoResponse
    #: All of its records joined.
    joined: AutoResponse
    is_counted: bool
    #: Before its first record: the handset's last answer of the rule, and the rule's answers of the day.
    previous_at: Time | None
    position: int


class History:
    """Apply each record of the partition in order; applying one again changes nothing."""

    def __init__(self, *, counts_dry_runs: bool = False) -> None:
        """
        Args:
            counts_dry_runs: whether a dry run's answers count to the caps.
        """
        self._counts_dry_runs = counts_dry_runs
        self._events: dict[EventKey, _EventHistory] = {}
        #: When the handset got answers of the rule, by event.
        self._answers: dict[_HandsetRule, dict[str, Time]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def apply(self, record: AutoResponse) -> None:
        """Apply the next record."""
        key = EventKey(record.account, record.event_id)
        event = self._events.get(key)
        if event is None:
            self._add(key, record)
            return
        event.joined = join_auto_responses(event.joined, record)
        if event.is_counted and event.joined.outcome == "not_sent":
            self._uncount(event)

    def find(self, account: str, event_id: str) -> AutoResponse | None:
        """The joined record of an event; None if nothing was decided about it, or long ago."""
        event = self._events.get(EventKey(account, event_id))
        return event.joined if event else None

    def last_answer(self, account: str, number: str, rule: str) -> Time | None:
        """When the handset last got an answer of the rule, or may have."""
        answers = self._answers.get(_HandsetRule(account, number, rule))
        return max(answers.values()) if answers else None

    def count(self, rule: str, day: str) -> int:
        """Answers of the rule on that day, in this partition."""
        return self._counts[rule, day]

    def objection(self, intent: AutoResponse, period: timedelta, partition_cap: int) -> Reason | None:
        """Why the topic forbids to send an intent; None if it does not.

        Its own record and all before it must have been applied; more may have been.
        """
        event = self._events.get(EventKey(intent.account, intent.event_id))
        if event is None:
            return Reason.NOT_STORED
        if event.first.outcome != "intent" or event.first.attempt != intent.attempt:
            return Reason.DUPLICATE
        if event.joined.outcome != "intent":
            return Reason.DUPLICATE
        if event.previous_at and is_within(event.previous_at, period, datetime.fromisoformat(intent.at)):
            return Reason.PERIOD
        return Reason.DAILY_CAP if event.position >= partition_cap else None

    def may_close(self, intent: AutoResponse) -> bool:
        """Whether an intent that must not be sent may be recorded as not sent.

        Beside the first intent of its event it may not, as that would hide what became of the first one.
        """
        event = self._events.get(EventKey(intent.account, intent.event_id))
        return event is not None and (
            event.first.outcome == "declined" or event.first.attempt == intent.attempt
        )

    def unresolved(self) -> Iterator[AutoResponse]:
        """The first intents without an outcome. All but those of running sends are unknown."""
        for event in self._events.values():
            if event.first.outcome == event.joined.outcome == "intent":
                yield event.first

    def evict(self, now: datetime) -> None:
        """Remove what cannot matter any more; to be called every few minutes."""
        recent, oldest = format_time(now - KNOWN_FOR), format_time(now - MAX_PERIOD)
        for key, event in [*self._events.items()]:
            since = recent if _tells_age(event.first) else oldest
            if event.joined.at < since and event.joined.outcome != "intent":
                del self._events[key]
        for handset, answers in [*self._answers.items()]:
            kept = {event_id: at for event_id, at in answers.items() if at >= oldest}
            if kept:
                self._answers[handset] = kept
            else:
                del self._answers[handset]
        yesterday = format_time(now - timedelta(days=2))[:10]  # of any time zone
        self._counts = Counter({key: count for key, count in self._counts.items() if key[1] >= yesterday})

    def _add(self, key: EventKey, record: AutoResponse) -> None:
        handset = _HandsetRule(record.account, record.number, record.rule)
        day = record.rule, record.day
        is_counted = self._is_answer(record)
        previous_at = self.last_answer(*handset)
        self._events[key] = _EventHistory(record, record, is_counted, previous_at, self._counts[day])
        if is_counted:
            self._answers.setdefault(handset, {})[record.event_id] = record.at
            self._counts[day] += 1

    def _is_answer(self, record: AutoResponse) -> bool:
        if record.outcome == "declined":
            return self._counts_dry_runs and record.reason == Reason.DRY_RUN
        return record.outcome != "not_sent"

    def _uncount(self, event: _EventHistory) -> None:
        first = event.first
        event.is_counted = False
        answers = self._answers.get(_HandsetRule(first.account, first.number, first.rule), {})
        answers.pop(first.event_id, None)
        self._counts[first.rule, first.day] -= 1


def _tells_age(record: AutoResponse) -> bool:
    """Whether the provider's time shows that a later repetition of the response is old."""
    limit = format_time(datetime.fromisoformat(record.at) + MAX_AHEAD)
    return record.occurred_at is not None and record.occurred_at <= limit


def is_within(at: Time, period: timedelta, now: datetime) -> bool:
    """Whether `now` is less than a period after a time, or before it."""
    return now - datetime.fromisoformat(at) < period
