"""Joins the states of earlier stores into the topic: those of a topic that had its name before.

They may reach back further than the inputs. A page of states is joined with what is known, and the difference
is written like any other change, if the partition is ours. States of a partition that another worker owns are
appended as they are: its owner merges foreign records (`streams/state/repair.py`). A store is removed after
its last page, so a join that was interrupted starts again, and joins to the same states.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from aiokafka.errors import KafkaError

from streams.state.changelog import restore
from streams.state.folders import StoreFolders
from streams.state.spec import Change, TableSpec
from streams.state.store import StateStore
from streams.state.table import Fenced, StateTable
from streams.state.writer import StateWriter
from streams.transport.app import consumer_of, producer_of
from streams.transport.producer import partition_of

log = structlog.get_logger(__name__)

#: Seconds between looking for earlier stores.
POLL_INTERVAL = 1.0
#: States per write.
PAGE_SIZE = 1_000


def changes_by_joining(
    spec: TableSpec, states: Mapping[bytes, bytes], known: Mapping[bytes, bytes | None]
) -> dict[bytes, Change]:
    """The changes that join these states into what is known; none for a state that adds nothing. Pure.

    Undecodable states are logged and skipped.

    Raises:
        NewerVersion: a state's format is newer than this code.
    """
    joined = restore(spec.join, states.items(), known).values
    return {key: spec.rewrite(value) for key, value in joined.items() if value != known.get(key)}


class EarlierStores:
    """Joins a worker's earlier stores, in the background."""

    def __init__(
        self,
        table: StateTable,
        writer: StateWriter,
        folders: StoreFolders,
        open_store: Callable[[Path], StateStore],
        partitions: int,
    ) -> None:
        """
        Args:
            open_store: opens a store, given its folder.
            partitions: partition count of the topic. The earlier one may have had another.
        """
        self._table = table
        self._app = table.app
        self._writer = writer
        self._folders = folders
        self._open_store = open_store
        self._partitions = partitions

    async def run(self) -> None:
        """Join until cancelled.

        Raises:
            NewerVersion: a state's format is newer than this code.
        """
        while True:
            for folder in self._folders.earlier() if self._is_member else ():
                try:
                    await self._join(folder)
                except (Fenced, KafkaError) as error:
                    reason = str(error) or type(error).__name__
                    log.info("Join of an earlier store postponed", folder=str(folder), reason=reason)
            await asyncio.sleep(POLL_INTERVAL)

    @property
    def _is_member(self) -> bool:
        """Whether this worker knows which partitions it owns."""
        return self._app.rebalancing_count > 0 and not self._app.rebalancing

    async def _join(self, folder: Path) -> None:
        log.warning("Joining the states of an earlier store", folder=str(folder))
        store, states, written = self._open_store(folder), 0, 0
        try:
            for page in store.scan(PAGE_SIZE):
                states += len(page)
                by_partition: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
                for key, value in page:
                    by_partition[partition_of(key, self._partitions)][key] = value
                for partition, found in by_partition.items():
                    written += await self._join_page(partition, found)
                await asyncio.sleep(0)
        finally:
            store.close()
        self._folders.remove(folder)
        log.warning("Earlier store joined", folder=str(folder), states=states, written=written)

    async def _join_page(self, partition: int, states: Mapping[bytes, bytes]) -> int:
        """Returns how many of the states were written."""
        spec = self._table.spec
        if self._is_member and partition not in self._assigned():
            changes = changes_by_joining(spec, states, {})
            if changes:
                timeout = (
                    consumer_of(self._app).lease.duration / 2
                )  # never longer than a lease that is in use
                await producer_of(self._app).write_to_partition(spec.topic, partition, changes, timeout)
            return len(changes)
        async with self._table.lock(partition):
            known = self._table.partition_state(partition).load(states)
            changes = changes_by_joining(spec, states, known)
            await self._writer.write(partition, changes)
        return len(changes)

    def _assigned(self) -> set[int]:
        topic = self._table.spec.topic
        return {tp.partition for tp in consumer_of(self._app).assignment() if tp.topic == topic}
