"""Faust's table of states: assignment, changelog topic, recovery. `streams/state/writer.py` writes to it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import faust
import structlog
from faust.tables.manager import TableManager
from faust.types import TP, AppT

from streams.state.partition import PartitionState, PartitionStates
from streams.state.spec import TableSpec
from streams.state.store import StateStore
from streams.transport.app import consumer_of

log = structlog.get_logger(__name__)


class Fenced(Exception):
    """The partition is no longer, or not certainly, this worker's; its next owner repeats the work."""


class StateTable(faust.Table[bytes, bytes]):
    """Encoded states by key. Never written through Faust."""

    logger = logging.getLogger("faust.table")

    def __init__(
        self,
        app: AppT,
        spec: TableSpec,
        open_store: Callable[[int], StateStore],
        set_aside: Callable[[int], None] = lambda partition: None,
    ) -> None:
        """
        Args:
            open_store: opens a partition's store.
            set_aside: puts away the store of a partition, which is closed, so that a new one can be opened.
        """
        changelog = app.topic(
            spec.topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            acks=False,
            allow_empty=True,
        )
        super().__init__(
            app,
            name=spec.topic,
            changelog_topic=changelog,
            recovery_buffer_size=2,  # in batches; with 1, Faust keeps reading after recovery
        )
        self.spec = spec
        self._open_store = open_store
        self._set_aside = set_aside
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: Assigned partitions whose states are completely restored.
        self.ready: set[int] = set()
        #: Called with each partition that becomes ready.
        self.on_ready: Callable[[int], None] = lambda partition: None

    @property
    def states(self) -> PartitionStates:
        states: PartitionStates = self.data  # type: ignore[assignment]
        return states

    def partition_state(self, partition: int) -> PartitionState:
        """The state of a ready partition.

        Raises:
            Fenced: the partition is not assigned, or not ready.
        """
        if partition not in self.ready:
            raise Fenced
        return self.states.of(partition)

    def count(self) -> int:
        """Estimate the number of states in the ready partitions."""
        return sum(self.partition_state(partition).store.count() for partition in self.ready)

    def lock(self, partition: int) -> asyncio.Lock:
        """The lock to hold from reading states of the partition until their changes are written."""
        return self._locks[partition]

    async def flush(self) -> None:
        """Wait for the writes in flight."""
        for lock in list(self._locks.values()):
            async with lock:
                pass

    # -- called by Faust

    def _new_store_by_url(self, url: Any) -> PartitionStates:
        return PartitionStates(
            url,
            self.app,
            self,
            loop=self.loop,
            join=self.spec.join,
            open_store=self._open_store,
            set_aside=self._set_aside,
        )

    async def on_start(self) -> None:
        await self.add_runtime_dependency(self.states)  # and no topic: those are created before Faust starts

    async def on_stop(self) -> None:
        self.ready = set()  # fences running batches before their stores are closed
        await self.flush()

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        self.ready = set()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_log_ends(self, ends: Mapping[TP, int]) -> None:
        """Set aside stores that are beyond the end of their log: Kafka has lost records.

        A store may have lost them, too, so their inputs are read from the beginning. That is committed first:
        as long as it is not, the next start finds the store where it is.
        """
        own = {tp: end for tp, end in ends.items() if tp.topic == self.spec.topic}
        beyond = {tp for tp, end in own.items() if self.states.beyond(tp.partition, end)}
        if not beyond:
            return
        numbers = {tp.partition for tp in beyond}
        log.error(
            "Kafka lost records of the changelog; joining the stores",
            topic=self.spec.topic,
            partitions=sorted(numbers),
        )
        inputs = {TP(topic, number) for topic in self.spec.inputs for number in numbers}
        if not await consumer_of(self.app).commit_log_starts(inputs):
            return  # a rebalance has started, after which they are compared again
        manager: TableManager = self.app.tables  # type: ignore[assignment]
        for tp in beyond:
            self.states.set_aside(tp.partition)
            manager.recovery.active_offsets[tp] = None  # type: ignore[assignment]  # as without a store

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        await super().on_recovery_completed(active_tps, standby_tps)
        self.ready = {tp.partition for tp in active_tps if tp.topic == self.spec.topic}
        for partition in self.ready:
            self.on_ready(partition)
