"""Removes the stores of partitions that this worker has not owned for a day.

The store of a partition that moves to another worker stays at first: if the partition returns, only its
newest states have to be restored. If it stayed for ever, each worker would in time have all states.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from streams.state.rocksdb import RocksFolder

log = structlog.get_logger(__name__)

KEEP = timedelta(days=1)
#: Seconds between checks, and before the first one, so that a group that just started has settled.
INTERVAL = 600.0


def unused(last_owned: Mapping[int, datetime], owned: Collection[int], now: datetime) -> list[int]:
    """Return the partitions whose stores are to be removed.

    Args:
        last_owned: of each partition that has a store, when it was last known to be owned.
        owned: partitions that are owned now.
    """
    return [
        partition
        for partition, at in sorted(last_owned.items())
        if partition not in owned and now - at > KEEP
    ]


class UnusedStores:
    """Checks a state directory from time to time. The time of a store's folder is when it was last owned."""

    def __init__(
        self, folder: RocksFolder, owned: Callable[[], Collection[int]], now: Callable[[], datetime]
    ) -> None:
        """
        Args:
            owned: returns the partitions that the worker owns now.
            now: returns the time.
        """
        self._folder = folder
        self._owned = owned
        self._now = now

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.check()

    async def check(self) -> None:
        """Remove the stores that are unused; those that another process has open stay."""
        for partition in unused(self._last_owned(), self._owned(), self._now()):
            try:
                await asyncio.to_thread(self._folder.remove, partition)
            except Exception as error:  # not worth the worker's end; rocksdict's errors have no types
                log.warning("Unused state store not removed", partition=partition, reason=str(error))
            else:
                log.info("Unused state store removed", partition=partition)

    def _last_owned(self) -> dict[int, datetime]:
        stores = [path for path in self._folder.path.iterdir() if path.name.isdecimal()]
        now, owned = self._now().timestamp(), self._owned()
        times = {}
        for path in stores:
            with suppress(FileNotFoundError):  # just discarded
                if int(path.name) in owned:
                    os.utime(path, (now, now))
                times[int(path.name)] = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return times
