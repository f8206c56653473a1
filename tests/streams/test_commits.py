"""What a streams worker commits, and when it retries a commit."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from faust.types import TP

from streams.transport.commit_tracker import CommitTracker
from streams.transport.consumer import BatchConsumer
from streams.transport.lease import Lease

P = TP("postbacks.response", 0)


class Group:
    """Replaces the consumer's thread: receives commits, the first of them late."""

    def __init__(self) -> None:
        self.offset = 0
        self.accepts = True
        self.received = asyncio.Event()
        self.respond = asyncio.Event()
        self._first = True

    def assignment(self) -> set[TP]:
        return {P}

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        first, self._first = self._first, False
        if first:
            self.received.set()
            await self.respond.wait()
        if self.accepts:
            self.offset = offsets[P]
        return self.accepts


def consumer_of(group: Group) -> BatchConsumer:
    consumer = BatchConsumer.__new__(BatchConsumer)
    consumer._thread = group  # type: ignore[assignment]
    consumer.tracker, consumer.lease = CommitTracker(), Lease(6)
    consumer._committed, consumer._committing = {}, asyncio.Lock()
    consumer._acked, consumer._acked_index = defaultdict(list), defaultdict(set)
    consumer.tracker.assign({P: 0})
    return consumer


async def test_late_commit_never_moves_the_group_back() -> None:
    group = Group()
    consumer = consumer_of(group)
    early = asyncio.create_task(consumer._commit({P: 0}))
    await group.received.wait()
    consumer.tracker.ack(P, 0, 101, consumer.tracker.deliver(P, 0))
    later = asyncio.create_task(consumer._commit({P: 101}))
    await asyncio.sleep(0)
    group.respond.set()
    await asyncio.gather(early, later)
    assert group.offset == 101


async def test_rejected_commit_is_retried() -> None:
    group = Group()
    group.respond.set()
    group.accepts = False
    consumer = consumer_of(group)
    consumer.tracker.ack(P, 0, 101, consumer.tracker.deliver(P, 0))
    assert not await consumer._commit({P: 101})
    assert consumer._filter_committable_offsets([P]) == {P: 101}
    group.accepts = True
    assert await consumer._commit({P: 101})
    assert consumer._filter_committable_offsets([P]) == {}
