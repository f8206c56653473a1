"""Measures the progress of consumer groups: the longest stall, and when everything is committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress

from gateway.rejected import REJECTED
from streams.contact import CONTACTS
from streams.contact_event import CONTACT_EVENTS
from streams.message import INPUTS, MESSAGES
from tests.chaos.observer import Lag, ObservationFailed, Observer

SAMPLE_INTERVAL, POLL_INTERVAL = 1.0, 0.2
#: The topics that each group reads.
TOPICS_OF: Mapping[str, Sequence[str]] = {
    "streams": (*INPUTS, CONTACT_EVENTS),
    "sinks": (*INPUTS, REJECTED, MESSAGES, CONTACTS),
}


class LongestStall:
    """The longest time that a group had lag and committed nothing. Pure: the caller passes the time.

    Only time between two successful samples counts. An outage of Kafka does not end a stall: a group that
    commits neither before nor after it made no progress.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._current = 0.0
        #: Time of the last sample; None if it failed.
        self._sampled_at: float | None = None
        self._previous = Lag({}, {})

    def sample(self, now: float, lag: Lag | None) -> None:
        """Add a sample; `lag` is None if it failed."""
        if lag is None:
            self._sampled_at = None
            return
        if not self._previous.total or _committed(self._previous, lag):
            self._current = 0.0
        elif self._sampled_at is not None:
            self._current += now - self._sampled_at
            self.seconds = max(self.seconds, self._current)
        self._previous, self._sampled_at = lag, now


def _committed(previous: Lag, current: Lag) -> bool:
    shared = previous.committed.keys() & current.committed.keys()
    return any(previous.committed[tp] != current.committed[tp] for tp in shared)


async def measure_stalls(kafka: str, stalls: Mapping[str, LongestStall]) -> None:
    """Sample each group about once per second, until cancelled."""
    await asyncio.gather(*(_measure(kafka, group, stall) for group, stall in stalls.items()))


async def _measure(kafka: str, group: str, stall: LongestStall) -> None:
    async with aclosing(Observer(kafka)) as observer:
        while True:
            lag = None
            with suppress(ObservationFailed):
                lag = await observer.lag(group, TOPICS_OF[group])
            stall.sample(time.monotonic(), lag)
            await asyncio.sleep(SAMPLE_INTERVAL)


async def wait_committed(kafka: str, group: str, deadline: float) -> int:
    """Wait until the group has no lag, at most until `deadline` (monotonic); return the lag.

    Raises:
        ObservationFailed: Kafka does not respond at the deadline.
    """
    async with aclosing(Observer(kafka)) as observer:
        while True:
            try:
                lag = (await observer.lag(group, TOPICS_OF[group])).total
            except ObservationFailed:
                if time.monotonic() > deadline:
                    raise
            else:
                if not lag or time.monotonic() > deadline:
                    return lag
            await asyncio.sleep(POLL_INTERVAL)
