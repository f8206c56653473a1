"""Publishes a source's rows again, at a rate, and counts what came of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import TypeAlias

from gateway.postback import Time
from gateway.rejected import NotAPostback
from operations.progress import Done, Progress
from operations.replay.source import Source
from operations.replay.stored_request import Record, StoredRequest, record_of
from operations.rows import Query
from operations.time_slices import slices

#: Rows in memory, and records under way, at a time.
SLICE, PAGE_SIZE = 20_000, 500
#: Returns when the record is in Kafka.
Publish: TypeAlias = Callable[[Record], Awaitable[None]]


@dataclass
class Outcome:
    """What became of the rows so far."""

    #: Published, by topic.
    published: Counter[str] = field(default_factory=Counter)
    #: No postbacks still, by reason.
    rejected: Counter[str] = field(default_factory=Counter)
    #: All that was received before this is done, and what was received just then perhaps.
    reached: Time | None = None
    finished: bool = False


@dataclass
class Replay:
    """One replay; `outcome` tells how far it has come, also when it is broken off."""

    ask: Query
    source: Source
    #: Postbacks a second, at most.
    rate: float
    outcome: Outcome = field(default_factory=Outcome)

    async def run(self, publish: Publish, stop: asyncio.Event, progress: Progress) -> None:
        """Publish until the end of the source, or until `stop` is set.

        Raises:
            QueryFailed: ClickHouse does not answer; and what `publish` raises.
        """
        with progress.step("Counting"):
            minutes = await asyncio.to_thread(self.source.minutes, self.ask)
        with progress.step("Replaying", sum(minute.rows for minute in minutes)) as done:
            for portion in slices(minutes, timedelta(minutes=1), SLICE):
                rows = await asyncio.to_thread(self.source.rows, self.ask, portion)
                await self._publish(rows, publish, stop, done)
                if stop.is_set():
                    return
                done(max(0, portion.rows - len(rows)))
        self.outcome.finished = True

    async def _publish(
        self, rows: Sequence[StoredRequest], publish: Publish, stop: asyncio.Event, done: Done
    ) -> None:
        clock = asyncio.get_running_loop().time
        size = max(1, min(PAGE_SIZE, int(self.rate / 10)))
        left = iter(rows)
        while (some := list(islice(left, size))) and not stop.is_set():
            began = clock()
            records = list(self._read(some))
            await asyncio.gather(*map(publish, records))
            self.outcome.published.update(record.topic for record in records)
            self.outcome.reached = some[-1].received_at
            done(len(some))
            await asyncio.sleep(max(0.0, began + len(records) / self.rate - clock()))

    def _read(self, rows: Iterable[StoredRequest]) -> Iterable[Record]:
        for row in rows:
            try:
                yield record_of(row)
            except NotAPostback as why:
                self.outcome.rejected[why.reason] += 1
