"""The states of the partitions assigned to this worker, in the shape of a store of Faust's tables.

A store's offset advances only past changelog records that are applied and whose keys are not stale. While a
stale key awaits its rewrite, or foreign records are unread, the offset stays before them, so that the next
restore reads them again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from faust.stores import base
from faust.types import TP, EventT

from runtime.metrics import STATES_RECOVERED
from streams.state.changelog import Restored, keyed, restore
from streams.state.spec import Join
from streams.state.store import StateStore, Values


class ChangelogGap(Exception):
    """Faust's recovery skipped a part of the changelog; only a restart of the worker helps."""


class PartitionState:
    """One partition's store, and its position in the changelog."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        #: All records before this offset are applied.
        self.position = 0 if store.offset is None else store.offset + 1
        #: The known end of the log. Records from `position` on that other workers wrote are not applied yet.
        self.log_end = self.position
        #: Keys whose last record in the log contains less than the store.
        self.stale: set[bytes] = set()

    @property
    def is_behind(self) -> bool:
        return self.log_end > self.position

    def load(self, keys: Iterable[bytes]) -> dict[bytes, bytes | None]:
        """Return the state of each key."""
        distinct = list(dict.fromkeys(keys))
        return dict(zip(distinct, self.store.load(distinct), strict=True))

    def apply(self, restored: Restored, end: int) -> None:
        """Apply the log from `position` up to before `end`."""
        self.stale -= restored.values.keys()
        self.stale |= restored.stale
        self.position = max(self.position, end)
        self.log_end = max(self.log_end, end)
        self._store(restored.values)

    def on_written(self, values: Values, start: int, end: int) -> None:
        """Apply values that this worker wrote to the log, between offsets `start` and `end` (exclusive)."""
        contiguous = start == self.position == self.log_end and end - start == len(values)
        self.log_end = max(self.log_end, end)
        if contiguous:
            self.position = end
        self.stale -= values.keys()
        self._store(values)

    def _store(self, values: Values) -> None:
        self.store.write(values, None if self.stale or self.is_behind else self.position - 1)


class PartitionStates(base.Store[bytes, bytes]):
    """Opens a store for each partition that is assigned, and closes it when the partition is revoked."""

    logger = logging.getLogger("faust.store")

    def __init__(
        self,
        *args: Any,
        join: Join,
        open_store: Callable[[int], StateStore],
        set_aside: Callable[[int], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._join = join
        self._open_store = open_store
        self._set_aside = set_aside
        self.by_partition: dict[int, PartitionState] = {}

    def of(self, partition: int) -> PartitionState:
        """The partition's state; opens its store if necessary."""
        if partition not in self.by_partition:
            self.by_partition[partition] = PartitionState(self._open_store(partition))
        return self.by_partition[partition]

    def beyond(self, partition: int, log_end: int) -> bool:
        """Whether the partition's store has records that its log has not."""
        offset = self.of(partition).store.offset
        return offset is not None and offset >= log_end

    def set_aside(self, partition: int) -> None:
        """Replace the partition's store by a new one."""
        self._close(partition)
        self._set_aside(partition)

    # -- called by Faust's recovery

    def persisted_offset(self, tp: TP) -> int | None:
        return self.of(tp.partition).store.offset

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]], to_key: Any, to_value: Any) -> None:
        for event in batch:
            tp = event.message.tp
            if tp.topic != self.table_name:  # Faust takes the last table for one of a revoked partition
                continue
            try:
                self._restore(tp, event.message.value)
            except Exception as error:  # Faust's recovery would log it and continue
                self._crashing = asyncio.ensure_future(self.app.crash(error))
                raise

    def _restore(self, tp: TP, batch: Any) -> None:
        state = self.of(tp.partition)
        expected = max(state.position, self.app.consumer.log_starts.get(tp, 0))  # type: ignore[attr-defined]
        if batch.start > expected:
            raise ChangelogGap(
                f"{tp.topic}-{tp.partition}: expected offset {expected}, recovery continued at {batch.start}"
            )
        records = keyed(batch.records)
        state.apply(restore(self._join, records, state.load(dict(records))), batch.end)
        STATES_RECOVERED.labels(tp.topic).inc(len(batch.records))

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        for tp in revoked:
            if tp.topic == self.table_name:
                self._close(tp.partition)

    def _close(self, partition: int) -> None:
        if state := self.by_partition.pop(partition, None):
            state.store.close()

    async def on_stop(self) -> None:
        for partition in list(self.by_partition):
            self._close(partition)

    # -- not supported

    def reset_state(self) -> None:
        raise NotImplementedError("remove the store's folder instead")

    async def backup_partition(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("the topic is the backup")

    def restore_backup(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("the topic is the backup")
