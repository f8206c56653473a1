"""Publishes a source's requests again at a limited rate, and counts the results."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from gateway.postback import Time
from operations.progress import Advance, Progress
from operations.replay.publish import Publish, page_size, publish_page
from operations.replay.rejection import parse_again
from operations.replay.source import Source
from operations.replay.stored_request import ReplayedRecord, StoredRequest
from operations.rows import Query
from operations.time_slices import slices
from runtime.batched import batched

#: Rows in memory at a time.
SLICE_ROWS = 20_000


@dataclass
class ReplayResult:
    """What has been done so far."""

    #: Records published, by topic.
    published: Counter[str] = field(default_factory=Counter)
    #: Requests, and answers in them, that still are neither postbacks nor submissions, by reason.
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
        size = page_size(self.rate)
        for page in batched(requests, size):
            if stop.is_set():
                return
            for records in batched(self._parse(page), size):  # a request may have many answers
                await publish_page(records, publish, self.rate)
                self.result.published.update(record.topic for record in records)
            self.result.reached = page[-1].received_at
            advance(len(page))

    def _parse(self, requests: Iterable[StoredRequest]) -> Iterator[ReplayedRecord]:
        for request in requests:
            parsed = parse_again(request)
            self.result.rejected.update(parsed.rejected)
            yield from parsed.records
