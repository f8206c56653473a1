"""The sweep goes on by itself after a write that was not allowed for a moment, or took long."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import cast

import pytest

from gateway.postback import SENT
from runtime.kafka.consumer_group import TopicPartition
from streams import sweeper
from streams.change import Change
from streams.message import encode_message, state_of
from streams.state.partition import PartitionState
from streams.state.store import MemoryStore
from streams.state.table import Fenced, MessagesTable
from streams.sweeper import Sweeper
from streams.watermark import Watermark
from tests.support.postbacks import START, sent

KEY = b"acme/message"


class Table:
    """One partition that is ours all the time; its first write finds that the lease is over."""

    def __init__(self, seconds: float = 0) -> None:
        self.ready = {0}
        self._seconds = seconds
        self.wrote = asyncio.Event()
        self._lock = asyncio.Lock()
        self._tried: defaultdict[bytes, int] = defaultdict(int)
        self._kept = PartitionState(MemoryStore())
        self._kept.wrote({KEY: encode_message(state_of(sent(from_number="74121")))}, 0, 1)

    def lock(self, partition: int) -> asyncio.Lock:
        return self._lock

    def kept(self, partition: int) -> PartitionState:
        return self._kept

    def load(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._kept.store.load(keys)

    async def write(self, partition: int, changes: Mapping[bytes, Change]) -> None:
        for key in changes:
            self._tried[key] += 1
            if self._tried[key] == 1:
                await asyncio.sleep(self._seconds)
                raise Fenced
            self.wrote.set()


async def swept(table: Table) -> None:
    """Wait until the sweep has marked the message."""
    watermark = Watermark[TopicPartition]()
    watermark.observe(START + timedelta(hours=73), {TopicPartition(SENT, 0): 1}, {TopicPartition(SENT, 0): 1})
    the_sweeper = Sweeper(cast(MessagesTable, table), watermark, timedelta(hours=72), timedelta(days=14))
    the_sweeper.begin(0)
    sweeping = asyncio.create_task(the_sweeper.run())
    try:
        await asyncio.wait_for(table.wrote.wait(), 30)
    finally:
        sweeping.cancel()


async def test_what_is_due_while_the_lease_is_over_for_a_moment_is_marked_later() -> None:
    await swept(Table())


async def test_a_write_that_took_long_is_no_work_to_rest_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "SHARE", 0.001)
    await swept(Table(seconds=0.2))
