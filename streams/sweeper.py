"""Looks through the states in the background, and writes what time changes in them.

Per partition, with the time up to which its input is merged as the clock (`streams.watermark`): a
receipt that waits in Kafka is merged before its lack is judged. What is due is decided in `streams/sweep.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from time import monotonic

from runtime.kafka.consumer_group import TopicPartition
from runtime.metrics import OVERDUE_MARKED
from streams.state.table import Fenced, MessagesTable
from streams.sweep import Sweep
from streams.watermark import Watermark

#: States in one look, keys in one write.
PAGE_SIZE = 1_000
#: Of the time at most this part goes into looking, with rests of so many seconds at most: who waited for
#: Kafka, or was frozen, has nothing to rest from.
DUTY_CYCLE, MAX_PAUSE = 0.1, 1.0
PAUSE_SECONDS = 0.2


class _Round:
    """A partition's sweep, and where its look through the store stands."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.portions: Iterator[list[tuple[bytes, bytes]]] | None = None
        self.next_at: datetime | None = None


class Sweeper:
    """Runs over the partitions that are ready, for as long as they are."""

    def __init__(
        self,
        table: MessagesTable,
        watermark: Watermark[TopicPartition],
        overdue_after: timedelta,
        forget_after: timedelta,
    ) -> None:
        self._table = table
        self._watermark = watermark
        self._limits = overdue_after, forget_after
        self._rounds: dict[int, _Round] = {}

    def begin(self, partition: int) -> None:
        """The partition's states are complete: look through all of them, at once."""
        self._rounds[partition] = _Round(Sweep(*self._limits))

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            worked = False
            for partition in sorted(self._table.ready & self._rounds.keys()):
                began = monotonic()
                try:
                    worked |= await self._step(partition)
                except Fenced:  # perhaps only for a moment: who still has it then looks through all again
                    self.begin(partition)
                await asyncio.sleep(min((monotonic() - began) * (1 / DUTY_CYCLE - 1), MAX_PAUSE))
            if not worked:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _step(self, partition: int) -> bool:
        """Look at a portion, and act on what is due; whether there was anything to do."""
        now = self._watermark.of(partition)
        if now is None:
            return False
        round_ = self._rounds[partition]
        looked, keys = self._look(partition, round_, now)
        keys += round_.sweep.due(now, PAGE_SIZE)
        if keys:
            await self._act(partition, round_.sweep, keys, now)
        return looked or bool(keys)

    def _look(self, partition: int, round_: _Round, now: datetime) -> tuple[bool, list[bytes]]:
        if round_.portions is None:
            if round_.next_at is not None and now < round_.next_at:
                return False, []
            round_.portions = self._table.kept(partition).store.scan(PAGE_SIZE)
            round_.next_at = now + round_.sweep.round
        portion = next(round_.portions, None)
        if portion is None:
            round_.portions = None
            return False, []
        return True, round_.sweep.look(portion, now)

    async def _act(self, partition: int, sweep: Sweep, keys: list[bytes], now: datetime) -> None:
        async with self._table.lock(partition):
            states = zip(keys, self._table.load(partition, keys), strict=True)
            changes = sweep.judge(states, now)
            await self._table.write(partition, changes)
        OVERDUE_MARKED.inc(sum(change.value is not None for change in changes.values()))
