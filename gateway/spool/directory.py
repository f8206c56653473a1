"""The spools that a gateway publishes: its own, and those whose owners are gone.

Whatever happens to a disk, nothing here ends the gateway: what cannot be read or saved now is left for the
next look.
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
    """Those in one folder. All work on them is done in one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "spool")
        self._own: SpoolFile | None = None
        self._making = asyncio.Lock()
        self._adopted: list[SpoolFile] = []

    def __iter__(self) -> Iterator[SpoolFile]:
        """Those of others first."""
        yield from list(self._adopted)
        if self._own:
            yield self._own

    @property
    def count(self) -> int:
        """Records in all of them."""
        return sum(file.count for file in self)

    @property
    def size(self) -> int:
        """Bytes of keys and values in all of them."""
        return sum(file.size for file in self)

    @property
    def oldest_at(self) -> float | None:
        """Since when the oldest record has waited."""
        return min((file.oldest_at for file in self if file.oldest_at is not None), default=None)

    async def open(self) -> None:
        """Make one, and adopt those without an owner.

        On a full disk there is none of our own until there is room: Kafka may be there.

        Raises:
            SpoolFailed: the folder cannot be written.
        """
        try:
            await self._make_own()
        except SpoolFailed as error:
            if spool.free_bytes(self._folder) >= 0:
                raise
            log.error("The disk is full: no spool yet", error=str(error))
        await self.adopt()

    async def close(self) -> None:
        """What is in them stays on disk."""
        for file in self:
            await self.blocking(file.close)
        self._thread.shutdown()

    async def append(self, records: Sequence[Spooled]) -> None:
        """Keep the records, all or none; on return they are on disk.

        Raises:
            SpoolFailed, SpoolDamaged: they are not kept.
        """
        own = await self._make_own()
        try:
            await self.blocking(own.append, records)
        except SpoolDamaged as error:
            await self.replace(own, str(error))
            await self.blocking((await self._make_own()).append, records)

    async def drop_empty(self, file: SpoolFile) -> None:
        """Close it if it is another's, and there is nothing left in it."""
        if not file.count and file in self._adopted:
            self._adopted.remove(file)
            await self.blocking(file.close)

    async def adopt(self) -> None:
        """Take over those that lost their owner."""
        try:
            for path, lock in await self.blocking(lambda: list(spool.claim_orphaned(self._folder))):
                await self._adopt_one(path, lock)
        except OSError as error:
            log.error("Abandoned spools cannot be looked for", error=str(error))

    async def replace(self, damaged: SpoolFile, error: str) -> None:
        """Go on without one that turned out to be damaged, with what can be read of it."""
        if damaged not in self:  # who came before does it
            return
        if damaged is self._own:
            self._own = None
        else:
            self._adopted.remove(damaged)
        await self._salvage(damaged.path, error)
        await self.blocking(damaged.close)

    async def blocking(self, work: Callable[..., T], *arguments: object) -> T:
        """Do work on a spool in the thread that is for that."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _make_own(self) -> SpoolFile:
        """The gateway's own, new where there is none."""
        async with self._making:
            if self._own is None:
                self._own = await self.blocking(spool.create, self._folder)
            return self._own

    async def _adopt_one(self, path: Path, lock: int) -> None:
        try:
            file = await self.blocking(SpoolFile, path, lock)
        except SpoolFailed as error:
            os.close(lock)
            log.error("An abandoned spool cannot be read yet", error=str(error))
        except SpoolDamaged as error:
            await self._salvage(path, str(error))
            os.close(lock)
        else:
            log.info("Adopted a spool", path=str(path), records=file.count)
            self._adopted.append(file)

    async def _salvage(self, path: Path, error: str) -> None:
        """Take over what can be read of it. What cannot be kept now is left for who adopts it next."""
        try:
            saved = await self.blocking(spool.salvage, path)
            own = await self._make_own()
            await self.blocking(own.append, saved)  # first: a kill here saves it twice, not never
            damaged = await self.blocking(spool.quarantine, path)
        except (SpoolFailed, SpoolDamaged, OSError) as failure:
            log.error("A spool is damaged, and cannot be saved yet", error=error, why=str(failure))
        else:
            SPOOLS_DAMAGED.inc()
            log.error("A spool is damaged", error=error, set_aside=str(damaged), saved=len(saved))
