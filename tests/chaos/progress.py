"""A group's progress: the longest time with lag and without a commit, while Kafka answered; and its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from gateway.postback import POSTBACK_TOPICS, REJECTED
from streams.message import MESSAGES
from tests.chaos.observer import Lag, Observer, Unavailable

SAMPLE_SECONDS, POLL_SECONDS = 1.0, 0.2
#: What each group reads.
TOPICS_OF: Mapping[str, Sequence[str]] = {
    "streams": POSTBACK_TOPICS,
    "sinks": (*POSTBACK_TOPICS, REJECTED, MESSAGES),
}


class Stretch:
    """A group's time without progress, from samples; pure, as the caller brings the time.

    Only time between two samples that Kafka answered counts. An outage does not end a stretch: a group that
    commits nothing before it and nothing after it has not moved.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._current = 0.0
        #: When the last sample was answered; None when it was not.
        self._answered: float | None = None
        self._before = Lag({}, {})

    def sample(self, now: float, lag: Lag | None) -> None:
        """Take a sample; None when Kafka did not answer."""
        if lag is None:
            self._answered = None
            return
        if not self._before.total or _moved(self._before, lag):
            self._current = 0.0
        elif self._answered is not None:
            self._current += now - self._answered
            self.longest = max(self.longest, self._current)
        self._before, self._answered = lag, now


def _moved(before: Lag, after: Lag) -> bool:
    shared = before.committed.keys() & after.committed.keys()
    return any(before.committed[tp] != after.committed[tp] for tp in shared)


async def watch_progress(kafka: str, stretches: Mapping[str, Stretch]) -> None:
    """Sample each group about once a second, until it is cancelled."""
    await asyncio.gather(*(_watch(kafka, group, stretch) for group, stretch in stretches.items()))


async def _watch(kafka: str, group: str, stretch: Stretch) -> None:
    observer = Observer(kafka)
    try:
        while True:
            lag = None
            with suppress(Unavailable):
                lag = await observer.lag(group, TOPICS_OF[group])
            stretch.sample(time.monotonic(), lag)
            await asyncio.sleep(SAMPLE_SECONDS)
    finally:
        await observer.close()


async def wait_merged(kafka: str, group: str, until: float) -> int:
    """Wait until the group has committed all that its topics hold; records left at `until` (monotonic).

    Raises:
        Unavailable: Kafka does not answer, and it is `until`.
    """
    observer = Observer(kafka)
    try:
        while True:
            try:
                left = (await observer.lag(group, TOPICS_OF[group])).total
            except Unavailable:
                if time.monotonic() > until:
                    raise
            else:
                if not left or time.monotonic() > until:
                    return left
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await observer.close()
