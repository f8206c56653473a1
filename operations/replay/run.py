"""Publishes a source's requests again at a limited rate, and counts the results."""

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
from operations.progress import Advance, Progress
from operations.replay.source import Source
from operations.replay.stored_request import ReplayedRecord, StoredRequest, record_of
from operations.rows import Query
from operations.time_slices import slices

#: Rows in memory at a time, and records in flight.
SLICE_ROWS, PAGE_SIZE = 20_000, 500
#: Returns once the record is in Kafka.
Publish: TypeAlias = Callable[[ReplayedRecord], Awaitable[None]]


@dataclass
class ReplayResult:
    """What has been done so far."""

    #: Records published, by topic.
    published: Counter[str] = field(default_factory=Counter)
    #: Requests that still are not postbacks, by reason.
    rejected: Counter[str] = field(default_factory=Counter)
    #: Everything received before this time is done, and possibly some of what was received at it.
    reached: Time | None = None
    finished: bool = False


@dataclass
class Replay:
    """One replay; `result` is valid even if it is interrupted or fails."""

    query: Query
    source: Source
    #: Records per second, at most.
    rate: float
    result: ReplayResult = field(default_factory=ReplayResult)

    async def run(self, publish: Publish, stop: asyncio.Event, progress: Progress) -> None:
        """Publish until the end of the source or until `stop` is set; records in flight are completed.

        Raises:
            QueryFailed: ClickHouse refused a query or does not answer. Errors of `publish` are raised, too.
        """
        with progress.step("Counting"):
            minutes = await asyncio.to_thread(self.source.count_by_minute, self.query)
        with progress.step("Replaying", sum(minute.rows for minute in minutes)) as advance:
            for slice in slices(minutes, timedelta(minutes=1), SLICE_ROWS):
                requests = await asyncio.to_thread(self.source.read, self.query, slice)
                await self._publish(requests, publish, stop, advance)
                if stop.is_set():
                    return
                advance(max(0, slice.rows - len(requests)))
        self.result.finished = True

    async def _publish(
        self, requests: Sequence[StoredRequest], publish: Publish, stop: asyncio.Event, advance: Advance
    ) -> None:
        clock = asyncio.get_running_loop().time
        size = max(1, min(PAGE_SIZE, int(self.rate / 10)))
        remaining = iter(requests)
        while (page := list(islice(remaining, size))) and not stop.is_set():
            started = clock()
            records = list(self._parse(page))
            await asyncio.gather(*map(publish, records))
            self.result.published.update(record.topic for record in records)
            self.result.reached = page[-1].received_at
            advance(len(page))
            await asyncio.sleep(max(0.0, started + len(records) / self.rate - clock()))

    def _parse(self, requests: Iterable[StoredRequest]) -> Iterable[ReplayedRecord]:
        for request in requests:
            try:
                yield record_of(request)
            except NotAPostback as error:
                self.result.rejected[error.reason] += 1
