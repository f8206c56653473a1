"""What a worker of streams commits, and when it commits again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from faust.types import TP

from streams.transport.commit_tracker import CommitTracker
from streams.transport.consumer import BatchConsumer
from streams.transport.lease import Lease

P = TP("postbacks.response", 0)


class Group:
    """Stands in for the consumer's thread: takes commits, the first of them late."""

    def __init__(self) -> None:
        self.offset = 0
        self.accepts = True
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self._first = True

    def assignment(self) -> set[TP]:
        return {P}

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        first, self._first = self._first, False
        if first:
            self.asked.set()
            await self.answer.wait()
        if self.accepts:
            self.offset = offsets[P]
        return self.accepts


def consumer_of(group: Group) -> BatchConsumer:
    consumer = BatchConsumer.__new__(BatchConsumer)
    consumer._thread = group  # type: ignore[assignment]
    consumer.tracker, consumer.lease = CommitTracker(), Lease(6)
    consumer._committed, consumer._committing = {}, asyncio.Lock()
    consumer.tracker.begin({P: 0})
    return consumer


async def test_late_commit_never_moves_the_group_back() -> None:
    group = Group()
    consumer = consumer_of(group)
    early = asyncio.create_task(consumer._commit({P: 0}))
    await group.asked.wait()
    consumer.tracker.acknowledge(P, 0, 101, consumer.tracker.deliver(P, 0))
    later = asyncio.create_task(consumer._commit({P: 101}))
    await asyncio.sleep(0)
    group.answer.set()
    await asyncio.gather(early, later)
    assert group.offset == 101


async def test_rejected_commit_is_repeated() -> None:
    group = Group()
    group.answer.set()
    group.accepts = False
    consumer = consumer_of(group)
    consumer.tracker.acknowledge(P, 0, 101, consumer.tracker.deliver(P, 0))
    assert not await consumer._commit({P: 101})
    assert consumer._should_commit(P, 101)
    group.accepts = True
    assert await consumer._commit({P: 101})
    assert not consumer._should_commit(P, 101)
