"""Repairs the changelog: merges records of other workers, and rewrites keys whose last record is stale.

A worker that was frozen, or a request that was in flight for long, may append a stale state to a partition
after it was assigned to us. The join with our state loses nothing (`streams/state/changelog.py`). But a
consumer of the topic, and a store restored from it, should find the most complete state last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from runtime.errors import KafkaUnavailable
from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.group_reader import GroupReader
from runtime.metrics import CHANGELOG_REPAIRS
from streams.state.changelog import merge_foreign, read_slice
from streams.state.table import Fenced, StateTable
from streams.state.writer import StateWriter

log = structlog.get_logger(__name__)

POLL_INTERVAL = 1.0
#: States per write.
PAGE_SIZE = 5_000


class ChangelogRepair:
    """Checks the ready partitions of a table, and repairs them."""

    def __init__(
        self, table: StateTable, writer: StateWriter, options: Mapping[str, Any], reader: GroupReader
    ) -> None:
        self._table = table
        self._writer = writer
        self._options = options
        self._reader = reader

    async def run(self) -> None:
        """Repair until cancelled.

        Raises:
            NewerVersion: a foreign record's format is newer than this code.
        """
        topic = self._table.spec.topic
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                ends = await self._reader.ends(
                    [TopicPartition(topic, number) for number in self._table.ready]
                )
            except KafkaUnavailable:
                continue
            for tp, end in ends.items():
                try:
                    if self._needs_repair(tp.partition, end):
                        await self._repair(tp.partition, end)
                except (Fenced, KafkaError) as error:
                    log.info(
                        "Changelog repair postponed",
                        topic=topic,
                        partition=tp.partition,
                        reason=str(error) or type(error).__name__,
                    )

    def _needs_repair(self, partition: int, log_end: int) -> bool:
        state = self._table.partition_state(partition)
        return bool(state.stale) or state.is_behind or log_end > state.position

    async def _repair(self, partition: int, log_end: int) -> None:
        topic = self._table.spec.topic
        async with self._table.lock(partition):  # no write of ours is in flight: unknown records are foreign
            if not await self._writer.has_lease():
                raise Fenced
            state = self._table.partition_state(partition)
            state.log_end = max(state.log_end, log_end)
            while state.is_behind:
                foreign = await read_slice(self._options, topic, partition, state.position)
                if state is not self._table.partition_state(partition):
                    raise Fenced
                log.warning(
                    "Foreign writes in changelog",
                    topic=topic,
                    partition=partition,
                    records=len(foreign.records),
                )
                known = state.load(dict(foreign.records))
                state.apply(merge_foreign(self._table.spec.join, foreign.records, known), foreign.end)
            while stale := list(state.stale)[:PAGE_SIZE]:
                log.warning(
                    "Rewriting stale changelog records", topic=topic, partition=partition, keys=len(stale)
                )
                await self._writer.rewrite(partition, stale)
                CHANGELOG_REPAIRS.labels(topic).inc(len(stale))
