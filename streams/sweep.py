"""Which messages of a partition time has come for: overdue ones, and those to let go of. Pure.

All states are looked through in rounds, and only deadlines of the next while are remembered, so that ten
million messages do not mean a heap of ten million, and a start with a warm store reads nothing first. A
deadline is only a reason to look: what happens is decided by the state of that moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from heapq import heappop, heappush

from gateway.postback import Time, format_time
from streams.change import Change, changed, let_go_of
from streams.expiry import is_expired, mark_overdue, receipt_due
from streams.message import Message, decode_message

#: A round takes this part of the shorter of the two limits, at most an hour.
ROUNDS_PER_LIMIT = 20
LONGEST_ROUND = timedelta(hours=1)


class Sweep:
    """The deadlines of one partition."""

    def __init__(self, overdue_after: timedelta, forget_after: timedelta) -> None:
        self._overdue_after = overdue_after
        self._forget_after = forget_after
        self._heap: list[tuple[Time, bytes]] = []
        self.round = min(min(overdue_after, forget_after) / ROUNDS_PER_LIMIT, LONGEST_ROUND)

    def look(self, states: Iterable[tuple[bytes, bytes]], now: datetime) -> list[bytes]:
        """Look through some of the states: the keys whose time has come. Nearer deadlines are remembered.

        Raises:
            NewerVersion: a state is of a newer format than this code knows.
        """
        due_now = []
        for key, value in states:
            message = decode_message(value)
            if is_expired(message, self._forget_after, format_time(now)):
                due_now.append(key)
            else:
                self.remember(key, message, now)
        return due_now

    def remember(self, key: bytes, message: Message, now: datetime) -> None:
        """Look at it again when its receipt is due, if that is before the round after this one ends."""
        due = receipt_due(message, self._overdue_after)
        if due is not None and due <= format_time(now + 2 * self.round):
            heappush(self._heap, (due, key))

    def due(self, now: datetime, most: int) -> list[bytes]:
        """Take out the keys whose deadline has passed, at most so many."""
        keys: dict[bytes, None] = {}
        until = format_time(now)
        while self._heap and self._heap[0][0] <= until and len(keys) < most:
            keys[heappop(self._heap)[1]] = None
        return list(keys)

    def judge(self, states: Iterable[tuple[bytes, bytes | None]], now: datetime) -> dict[bytes, Change]:
        """What time changes in these states.

        Raises:
            NewerVersion: a state is of a newer format than this code knows.
        """
        changes: dict[bytes, Change] = {}
        for key, value in states:
            if value is None:
                continue
            message = decode_message(value)
            if is_expired(message, self._forget_after, format_time(now)):
                changes[key] = let_go_of(message)
                continue
            marked = mark_overdue(message, self._overdue_after, format_time(now))
            if marked is not message:
                changes[key] = changed(message, marked)
        return changes
