"""The states of all partitions that are ours, as Faust's tables want a store to be.

A store's offset moves only over records of `messages` that are in it, and whose keys the log itself tells
well: while a stale one waits to be said again, or records that others wrote between ours are not read, it
stays before them, so that whoever recovers next meets them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from faust.stores import base
from faust.types import TP, EventT

from runtime.metrics import STATES_RECOVERED
from streams.state.changelog import Restored, restore
from streams.state.store import StateStore, Values

log = structlog.get_logger(__name__)


class GapInLog(Exception):
    """A part of the log was not handed to recovery; only to begin anew can help."""


class PartitionState:
    """One partition's states, and how well they agree with the log."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        #: Before this offset the whole log is in.
        self.end = 0 if store.offset is None else store.offset + 1
        #: So far the log is known to reach; what others wrote between our records is not in yet.
        self.log_end = self.end
        #: Keys of which the log's last record tells less than we know.
        self.stale: set[bytes] = set()

    @property
    def behind(self) -> bool:
        return self.log_end > self.end

    def take(self, replayed: Restored, end: int) -> None:
        """The log from `self.end` up to before `end` came to this."""
        self.stale -= replayed.values.keys()
        self.stale |= replayed.stale
        self.end = max(self.end, end)
        self.log_end = max(self.log_end, end)
        self._store(replayed.values)

    def wrote(self, values: Values, start: int, end: int) -> None:
        """We wrote the values to the log, offsets `start` to before `end`."""
        alone = start == self.end == self.log_end and end - start == len(values)
        self.log_end = max(self.log_end, end)
        if alone:
            self.end = end
        self.stale -= values.keys()
        self._store(values)

    def _store(self, values: Values) -> None:
        self.store.write(values, None if self.stale or self.behind else self.end - 1)


class States(base.Store[bytes, bytes]):
    """Opens a store for each partition that is assigned to us, and closes it when it is taken away."""

    logger = logging.getLogger("faust.store")

    def __init__(self, *args: Any, open_store: Callable[[int], StateStore], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open_store = open_store
        self._kept: dict[int, PartitionState] = {}

    def of(self, partition: int) -> PartitionState:
        """The partition's states, opened if they are not yet."""
        kept = self._kept.get(partition)
        if kept is None:
            kept = self._kept[partition] = PartitionState(self._open_store(partition))
        return kept

    def all(self) -> Iterable[PartitionState]:
        """Of every partition that is open."""
        return self._kept.values()

    # -- what Faust's recovery calls

    def persisted_offset(self, tp: TP) -> int | None:
        return self.of(tp.partition).store.offset

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]], to_key: Any, to_value: Any) -> None:
        for event in batch:
            tp = event.message.tp
            try:
                self._replay(tp, event.message.value)
            except Exception as error:  # Faust's recovery would only log it, and go on
                self._hopeless(error)
                raise

    def _replay(self, tp: TP, batch: Any) -> None:
        kept = self.of(tp.partition)
        expected = max(kept.end, self.app.consumer.log_starts.get(tp, 0))  # type: ignore[attr-defined]
        if batch.start > expected:
            raise GapInLog(
                f"{tp.topic}-{tp.partition}: the log is in up to {expected}, next came {batch.start}"
            )
        keys = list({record.key for record in batch.records})
        known = dict(zip(keys, kept.store.load(keys), strict=True))
        kept.take(restore(((record.key, record.value) for record in batch.records), known), batch.end)
        STATES_RECOVERED.inc(len(batch.records))

    def _hopeless(self, error: Exception) -> None:
        self._crashing = asyncio.ensure_future(self.app.crash(error))

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        for tp in revoked:
            if tp.topic == self.table_name:
                self._close(tp.partition)

    def _close(self, partition: int) -> None:
        if kept := self._kept.pop(partition, None):
            kept.store.close()

    async def on_stop(self) -> None:
        for partition in list(self._kept):
            self._close(partition)

    def reset_state(self) -> None:
        raise NotImplementedError("the states on disk are dropped by removing their folder")

    async def backup_partition(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("the topic is the backup")

    def restore_backup(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("the topic is the backup")
