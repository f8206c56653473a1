"""Marks messages as overdue or unsent and expires old ones, in the background.

The clock of a partition is its watermark (`streams/watermark.py`): a receipt that is still in Kafka is merged
before its message is judged overdue. `Deadlines` decides, purely; `Sweeper` scans the stores and writes.

Stores are scanned in rounds, and only deadlines of the near future are queued: ten million messages need no
queue of ten million, and a worker with a restored store starts without reading it first. The limit for unsent
messages is shorter than a round, so their deadlines are queued when their submissions are merged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from heapq import heappop, heappush
from time import monotonic
from typing import NamedTuple

from gateway.postback import Time, format_time
from gateway.submission import SUBMISSIONS
from runtime.metrics import OVERDUE_MARKED, UNSENT_MARKED
from streams.correlate import change_of, tombstone_of
from streams.expiry import attempt_due, is_expired, mark_overdue, mark_unsent, receipt_due
from streams.message import decode_message
from streams.state.spec import Change
from streams.state.table import Fenced, StateTable
from streams.state.writer import StateWriter
from streams.watermark import Watermark

#: A round takes this fraction of the shorter of the two limits, at most an hour.
ROUNDS_PER_LIMIT = 20
MAX_ROUND = timedelta(hours=1)
#: States per page of a scan, and keys per write.
PAGE_SIZE = 1_000
#: Duty cycle of the scan, and the longest pause between pages in seconds. The limit is for pages that took
#: long without using the CPU: waiting for Kafka, or while the process was frozen.
DUTY_CYCLE, MAX_PAUSE = 0.1, 1.0
#: Seconds between passes that find nothing to do.
POLL_INTERVAL = 0.2


class Evaluated(NamedTuple):
    """What time changes in some states, by key, and how many of them become overdue or unsent."""

    changes: dict[bytes, Change]
    overdue: int
    unsent: int


class Deadlines:
    """The deadlines of one partition. A due key is only a candidate: its state decides what happens."""

    def __init__(self, overdue_after: timedelta, unsent_after: timedelta, expire_after: timedelta) -> None:
        self._overdue_after = overdue_after
        self._unsent_after = unsent_after
        self._expire_after = expire_after
        self._queue: list[tuple[Time, bytes]] = []
        self.round = min(min(overdue_after, expire_after) / ROUNDS_PER_LIMIT, MAX_ROUND)

    def scan(self, page: Iterable[tuple[bytes, bytes]], now: datetime) -> list[bytes]:
        """Return the keys of states that expire now; queue what is due before the end of the next round.

        Raises:
            NewerVersion: the format of a state is newer than this code.
        """
        expired = []
        for key, value in page:
            message = decode_message(value)
            if is_expired(message, self._expire_after, format_time(now)):
                expired.append(key)
                continue
            dues = receipt_due(message, self._overdue_after), attempt_due(message, self._unsent_after)
            for due in dues:
                if due is not None and due <= format_time(now + 2 * self.round):
                    heappush(self._queue, (due, key))
        return expired

    def pop_due(self, now: datetime, limit: int) -> list[bytes]:
        """Remove and return up to `limit` keys whose deadline has passed."""
        keys: dict[bytes, None] = {}
        until = format_time(now)
        while self._queue and self._queue[0][0] <= until and len(keys) < limit:
            keys[heappop(self._queue)[1]] = None
        return list(keys)

    def evaluate(self, states: Iterable[tuple[bytes, bytes | None]], now: datetime) -> Evaluated:
        """Return what time changes in these states, and how many become overdue or unsent.

        Raises:
            NewerVersion: the format of a state is newer than this code.
        """
        changes: dict[bytes, Change] = {}
        overdue = unsent = 0
        for key, value in states:
            if value is None:
                continue
            message = decode_message(value)
            if is_expired(message, self._expire_after, format_time(now)):
                changes[key] = tombstone_of(message)
                continue
            with_overdue = mark_overdue(message, self._overdue_after, format_time(now))
            marked = mark_unsent(with_overdue, self._unsent_after, format_time(now))
            overdue += with_overdue is not message
            unsent += marked is not with_overdue
            if marked is not message:
                changes[key] = change_of(message, marked)
        return Evaluated(changes, overdue, unsent)


class _Scan:
    """A partition's deadlines, and the progress of its scan."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        #: Of the current round; None between rounds.
        self.pages: Iterator[list[tuple[bytes, bytes]]] | None = None
        #: Watermark at which the next round starts; None: at once.
        self.next_at: datetime | None = None
        #: The last watermark; None before the first round.
        self.now: datetime | None = None


class Sweeper:
    """Scans the ready partitions, one page after another."""

    def __init__(
        self,
        table: StateTable,
        writer: StateWriter,
        watermark: Watermark,
        overdue_after: timedelta,
        unsent_after: timedelta,
        expire_after: timedelta,
    ) -> None:
        self._table = table
        self._writer = writer
        self._watermark = watermark
        self._limits = overdue_after, unsent_after, expire_after
        self._scans: dict[int, _Scan] = {}

    def start_scan(self, partition: int) -> None:
        """Start with a full scan of a partition that has become ready."""
        self._scans[partition] = _Scan(Deadlines(*self._limits))

    def on_merged(self, topic: str, partition: int, changes: Mapping[bytes, Change]) -> None:
        """Queue what is due soon of states that were just merged with a submission, and are stored.

        Args:
            topic: the input of the states' events; of other inputs nothing is queued.

        Raises:
            NewerVersion: the format of a state is newer than this code.
        """
        scan = self._scans.get(partition)
        if topic != SUBMISSIONS or scan is None or scan.now is None:  # its first round will find them
            return
        states = [(key, change.value) for key, change in changes.items() if change.value is not None]
        scan.deadlines.scan(states, scan.now)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            worked = False
            for partition in sorted(self._table.ready & self._scans.keys()):
                began = monotonic()
                try:
                    worked |= await self._step(partition)
                except Fenced:  # perhaps only briefly; if the partition stays ours, scan it from the start
                    self.start_scan(partition)
                await asyncio.sleep(min((monotonic() - began) * (1 / DUTY_CYCLE - 1), MAX_PAUSE))
            if not worked:
                await asyncio.sleep(POLL_INTERVAL)

    async def _step(self, partition: int) -> bool:
        """Scan a page and apply what is due; return whether there was anything to do."""
        now = self._watermark.of(partition)
        if now is None:
            return False
        scan = self._scans[partition]
        scan.now = now
        scanned, keys = self._scan_page(partition, scan, now)
        keys += scan.deadlines.pop_due(now, PAGE_SIZE)
        if keys:
            await self._apply(partition, scan.deadlines, keys, now)
        return scanned or bool(keys)

    def _scan_page(self, partition: int, scan: _Scan, now: datetime) -> tuple[bool, list[bytes]]:
        if scan.pages is None:
            if scan.next_at is not None and now < scan.next_at:
                return False, []
            scan.pages = self._table.partition_state(partition).store.scan(PAGE_SIZE)
            scan.next_at = now + scan.deadlines.round
        page = next(scan.pages, None)
        if page is None:
            scan.pages = None
            return False, []
        return True, scan.deadlines.scan(page, now)

    async def _apply(self, partition: int, deadlines: Deadlines, keys: list[bytes], now: datetime) -> None:
        async with self._table.lock(partition):
            states = self._table.partition_state(partition).load(keys)
            evaluated = deadlines.evaluate(states.items(), now)
            await self._writer.write(partition, evaluated.changes)
        OVERDUE_MARKED.inc(evaluated.overdue)
        UNSENT_MARKED.inc(evaluated.unsent)
