"""Reads what others wrote between our records of `messages`, and says again what they told less well.

A worker that was frozen, or a request that was under way for long, may add a stale state to a partition after
it became ours. Joined with what we know it takes nothing away (`streams/state/changelog.py`); but who reads
the topic, or fills a store from it, should find the fuller state last.
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
from streams.message import MESSAGES
from streams.state.catchup import read_slice
from streams.state.changelog import merge_foreign
from streams.state.table import Fenced, MessagesTable

log = structlog.get_logger(__name__)

POLL_INTERVAL = 1.0
#: States that are said again in one write.
PORTION = 5_000


class ChangelogRepair:
    """Looks after the partitions that are ready, for as long as they are."""

    def __init__(self, table: MessagesTable, options: Mapping[str, Any], reader: GroupReader) -> None:
        self._table = table
        self._options = options
        self._reader = reader

    async def run(self) -> None:
        """Heal until cancelled.

        Raises:
            NewerVersion: others wrote states of a newer format than this code knows.
        """
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                ends = await self._reader.ends([TopicPartition(MESSAGES, one) for one in self._table.ready])
            except KafkaUnavailable:
                continue
            for tp, end in ends.items():
                try:
                    if self._is_ill(tp.partition, end):
                        await self._heal(tp.partition, end)
                except (Fenced, KafkaError) as error:
                    log.info(
                        "Changelog repair postponed",
                        partition=tp.partition,
                        reason=str(error) or type(error).__name__,
                    )

    def _is_ill(self, partition: int, log_end: int) -> bool:
        kept = self._table.kept(partition)
        return bool(kept.stale) or kept.behind or log_end > kept.end

    async def _heal(self, partition: int, log_end: int) -> None:
        async with self._table.lock(partition):  # no write of ours is under way: what is more, others wrote
            if not await self._table.consumer.may_write():
                raise Fenced
            kept = self._table.kept(partition)
            kept.log_end = max(kept.log_end, log_end)
            while kept.behind:
                part = await read_slice(self._options, partition, kept.end)
                if kept is not self._table.kept(partition):
                    raise Fenced
                log.warning(
                    "Others wrote into a partition of ours", partition=partition, records=len(part.records)
                )
                keys = list(dict(part.records))
                known = dict(zip(keys, kept.store.load(keys), strict=True))
                kept.take(merge_foreign(part.records, known), part.end)
            while stale := list(kept.stale)[:PORTION]:
                log.warning("Stale states are said again", partition=partition, keys=len(stale))
                await self._table.say_again(partition, stale)
                CHANGELOG_REPAIRS.inc(len(stale))
