"""The spools that a gateway publishes: its own and orphaned ones, whose process is gone.

Disk errors never stop the gateway: what cannot be read or salvaged now is retried at the next `adopt`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from gateway.spool import file as spool
from gateway.spool.file import SpoolDamaged, Spooled, SpoolFailed, SpoolFile
from runtime.metrics import SPOOLS_DAMAGED

log = structlog.get_logger(__name__)
T = TypeVar("T")


class SpoolDirectory:
    """The open spools of one directory. All blocking work on them runs in one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "spool")
        self._own: SpoolFile | None = None
        self._creating = asyncio.Lock()
        self._adopted: list[SpoolFile] = []

    def __iter__(self) -> Iterator[SpoolFile]:
        """Adopted spools first, then our own."""
        yield from list(self._adopted)
        if self._own:
            yield self._own

    @property
    def count(self) -> int:
        """Records in all spools."""
        return sum(file.count for file in self)

    @property
    def size(self) -> int:
        """Bytes of keys and values in all spools."""
        return sum(file.size for file in self)

    @property
    def oldest_at(self) -> float | None:
        """When the oldest record was spooled (seconds since 1970); None if there is none."""
        return min((file.oldest_at for file in self if file.oldest_at is not None), default=None)

    async def open(self) -> None:
        """Create our own spool and adopt orphaned ones.

        On a full disk our own is created by a later `append`: Kafka may be available.

        Raises:
            SpoolFailed: the directory is not writable.
        """
        try:
            await self._ensure_own()
        except SpoolFailed as error:
            if spool.free_bytes(self._folder) >= 0:
                raise
            log.error("Disk full, starting without a spool", error=str(error))
        await self.adopt()

    async def close(self) -> None:
        """Close all spools; their records stay on disk."""
        for file in self:
            await self.run_in_thread(file.close)
        self._thread.shutdown()

    async def append(self, records: Sequence[Spooled]) -> None:
        """Append the records, all or none, and return once they are synced to disk.

        Raises:
            SpoolFailed, SpoolDamaged: none was appended.
        """
        own = await self._ensure_own()
        try:
            await self.run_in_thread(own.append, records)
        except SpoolDamaged as error:
            await self.replace(own, str(error))
            await self.run_in_thread((await self._ensure_own()).append, records)

    async def close_if_drained(self, file: SpoolFile) -> None:
        """Close an adopted spool that has no records left."""
        if not file.count and file in self._adopted:
            self._adopted.remove(file)
            await self.run_in_thread(file.close)

    async def adopt(self) -> None:
        """Claim and open orphaned spools."""
        try:
            for path, lock in await self.run_in_thread(lambda: list(spool.claim_orphaned(self._folder))):
                await self._adopt_one(path, lock)
        except OSError as error:
            log.error("Search for orphaned spools failed", error=str(error))

    async def replace(self, damaged: SpoolFile, error: str) -> None:
        """Close a damaged spool, salvage its readable records into our own, and quarantine the file."""
        if damaged not in self:  # another task has replaced it
            return
        if damaged is self._own:
            self._own = None
        else:
            self._adopted.remove(damaged)
        await self._salvage(damaged.path, error)
        await self.run_in_thread(damaged.close)

    async def run_in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Run blocking work in the spools' thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _ensure_own(self) -> SpoolFile:
        async with self._creating:
            if self._own is None:
                self._own = await self.run_in_thread(spool.create, self._folder)
            return self._own

    async def _adopt_one(self, path: Path, lock: int) -> None:
        try:
            file = await self.run_in_thread(SpoolFile, path, lock)
        except SpoolFailed as error:
            os.close(lock)
            log.error("Orphaned spool cannot be read, will retry", error=str(error))
        except SpoolDamaged as error:
            await self._salvage(path, str(error))
            os.close(lock)
        else:
            log.info("Orphaned spool adopted", path=str(path), records=file.count)
            self._adopted.append(file)

    async def _salvage(self, path: Path, error: str) -> None:
        """Move the readable records to our own spool; on failure the file stays for the next `adopt`."""
        try:
            salvaged = await self.run_in_thread(spool.salvage, path)
            own = await self._ensure_own()
            await self.run_in_thread(own.append, salvaged)  # first: a kill here duplicates, never loses
            damaged = await self.run_in_thread(spool.quarantine, path)
        except (SpoolFailed, SpoolDamaged, OSError) as failure:
            log.error("Damaged spool cannot be salvaged, will retry", error=error, reason=str(failure))
        else:
            SPOOLS_DAMAGED.inc()
            log.error("Damaged spool quarantined", error=error, path=str(damaged), salvaged=len(salvaged))
