"""The sink that goes on while Kafka is away: what Kafka does not take goes to disk, and from there to Kafka.

New records go straight to Kafka whenever it answers; in the background the spool is published, oldest first,
and a record leaves it only after Kafka's acknowledgement. A record can so be in Kafka twice (it landed after
all, or a process died between acknowledgement and removal): it is the same bytes, so whoever counts events
counts one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from gateway import spool
from gateway.sink import Kept, NotKept, Sink, TooLarge
from gateway.spool import SpoolDamaged, Spooled, SpoolFailed, SpoolFile
from runtime.metrics import SPOOL_AGE, SPOOL_BYTES, SPOOL_LIMIT_BYTES, SPOOL_RECORDS, SPOOLED, SPOOLS_DAMAGED

log = structlog.get_logger(__name__)
T = TypeVar("T")

#: A record with its id in its spool.
Entry = tuple[int, Spooled]

#: Records that are read and published together.
DRAIN_RECORDS = 500
#: Seconds between looks at a spool that cannot be published now, and for spools that lost their owner.
PAUSE, ADOPTION_PAUSE = 0.5, 10.0


@dataclass(frozen=True)
class Limits:
    """Where the spool ends: it is full, or the disk does not answer."""

    #: Bytes of keys and values.
    size: int
    #: Seconds that its oldest record has waited.
    age: float
    #: Seconds until a record must be synced.
    sync: float


class SpoolingSink:
    """A sink before another one. From `open` to `close` it owns a spool, publishes and adopts."""

    def __init__(self, kafka: Sink, folder: Path, limits: Limits, clock: Callable[[], float]) -> None:
        self._kafka = kafka
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "spool")
        self._waiting: list[tuple[Spooled, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._own: SpoolFile | None = None
        self._making = asyncio.Lock()
        self._adopted: list[SpoolFile] = []

    async def open(self) -> None:
        """Make a spool, adopt those without an owner, begin to publish.

        On a full disk there is none until there is room: Kafka may be there.

        Raises:
            SpoolFailed: the folder cannot be written.
        """
        try:
            await self._make_own()
        except SpoolFailed as error:
            if not spool.is_full(self._folder):
                raise
            log.error("The disk is full: no spool yet", error=str(error))
        SPOOL_LIMIT_BYTES.set(self._limits.size)
        await self._adopt()
        self._working = [asyncio.create_task(work()) for work in (self._drain, self._keep_adopting)]

    async def close(self) -> None:
        """What is spooled stays on disk, for the next one that opens the folder."""
        for task in self._working:
            task.cancel()
        await asyncio.wait(self._working)
        if self._writer:
            await self._writer
        for file in self._files:
            await self._blocking(file.close)
        self._thread.shutdown()

    async def failed(self) -> None:
        """Return never, but raise when the spool is no longer published, which only a restart mends."""
        ended, _ = await asyncio.wait(self._working, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    @property
    def away(self) -> str | None:
        return self._kafka.away and self._full

    async def keep(self, topic: str, key: bytes, value: bytes) -> Kept:
        if not self._kafka.away:
            with suppress(NotKept):
                return await self._kafka.keep(topic, key, value)
        return await self._keep_on_disk(Spooled(topic, key, value, self._clock()))

    # -- into the spool

    @property
    def _full(self) -> str | None:
        waiting = sum(record.size for record, _ in self._waiting)
        if self._size + waiting >= self._limits.size:
            return f"the spool is full ({self._limits.size} bytes)"
        oldest = self._oldest_at
        if oldest is not None and self._clock() - oldest > self._limits.age:
            return f"the spool's oldest record has waited for more than {self._limits.age:g} s"
        return None

    async def _keep_on_disk(self, record: Spooled) -> Kept:
        if full := self._full:
            raise NotKept(full)
        synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, synced))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        try:
            await asyncio.wait_for(synced, self._limits.sync)
        except TimeoutError:
            raise NotKept("the disk does not answer") from None
        SPOOLED.inc()
        return Kept.ON_DISK

    async def _write(self) -> None:
        """One transaction, and so one sync of the disk, for all that came while the last one was synced."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._append([record for record, _ in batch])
            except (SpoolFailed, SpoolDamaged) as error:
                log.error("The spool takes nothing", error=str(error))
                for _, synced in batch:
                    if not synced.done():
                        synced.set_exception(NotKept(str(error)))
            else:
                for _, synced in batch:
                    if not synced.done():
                        synced.set_result(None)
            self._measure()

    async def _append(self, records: Sequence[Spooled]) -> None:
        own = await self._make_own()
        try:
            await self._blocking(own.append, records)
        except SpoolDamaged as error:
            await self._replace(own, str(error))
            await self._blocking((await self._make_own()).append, records)

    async def _make_own(self) -> SpoolFile:
        """The gateway's own spool, new where there is none."""
        async with self._making:
            if self._own is None:
                self._own = await self._blocking(spool.create, self._folder)
            return self._own

    # -- out of the spool

    async def _drain(self) -> None:
        while True:
            if self._kafka.away or not await self._publish_some():
                self._measure()
                await asyncio.sleep(PAUSE)

    async def _publish_some(self) -> bool:
        """Publish the oldest records of one spool; whether Kafka took any."""
        for file in self._files:
            try:
                if file.count and await self._publish_some_of(file):
                    return True
            except SpoolFailed as error:
                log.error("The spool cannot be read", error=str(error))
        return False

    async def _publish_some_of(self, file: SpoolFile) -> bool:
        try:
            if not file.published:
                records = await self._blocking(file.oldest, DRAIN_RECORDS)
                file.published = await self._publish(file, records)
            if kept := file.published:
                await self._blocking(file.remove, kept)  # tried again alone: Kafka has them once
                file.published = ()
        except SpoolDamaged as error:
            await self._replace(file, str(error))
            return False
        if not file.count and file is not self._own:
            self._adopted.remove(file)
            await self._blocking(file.close)
        self._measure()
        return bool(kept)

    async def _publish(self, file: SpoolFile, records: Sequence[Entry]) -> list[Entry]:
        """Those of the records that Kafka took. One that it refuses for its size must not hold up others."""
        answers = await asyncio.gather(
            *(self._kafka.keep(record.topic, record.key, record.value) for _, record in records),
            return_exceptions=True,
        )
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, NotKept):
                raise failure
        if failures and all(isinstance(failure, TooLarge) for failure in failures):
            log.error("Kafka refuses records for their size", records=len(failures), error=str(failures[0]))
            file.passed_over = records[-1][0]
        return [entry for entry, answer in zip(records, answers, strict=True) if isinstance(answer, Kept)]

    # -- spools of others

    async def _keep_adopting(self) -> None:
        while True:
            await asyncio.sleep(ADOPTION_PAUSE)
            await self._adopt()
            for file in self._files:
                file.passed_over = 0  # somebody may have raised the topic's limit

    async def _adopt(self) -> None:
        try:
            for path, lock in await self._blocking(lambda: list(spool.abandoned(self._folder))):
                await self._adopt_one(path, lock)
        except OSError as error:
            log.error("Abandoned spools cannot be looked for", error=str(error))
        self._measure()

    async def _adopt_one(self, path: Path, lock: int) -> None:
        try:
            file = await self._blocking(SpoolFile, path, lock)
        except SpoolFailed as error:
            os.close(lock)
            log.error("An abandoned spool cannot be read yet", error=str(error))
        except SpoolDamaged as error:
            await self._salvage(path, str(error))
            os.close(lock)
        else:
            log.info("Adopted a spool", path=str(path), records=file.count)
            self._adopted.append(file)

    async def _replace(self, damaged: SpoolFile, error: str) -> None:
        """Go on with a new file in the place of one that turned out to be damaged."""
        if damaged not in self._files:  # who came before does it
            return
        if damaged is self._own:
            self._own = None
        else:
            self._adopted.remove(damaged)
        await self._salvage(damaged.path, error)
        await self._blocking(damaged.close)

    async def _salvage(self, path: Path, error: str) -> None:
        """Take over what can be read of it. What cannot be kept now is left for who adopts it next."""
        try:
            saved = await self._blocking(spool.salvage, path)
            own = await self._make_own()
            await self._blocking(own.append, saved)  # first: a kill here saves it twice, not never
            damaged = await self._blocking(spool.set_aside, path)
        except (SpoolFailed, SpoolDamaged, OSError) as failure:
            log.error("A spool is damaged, and cannot be saved yet", error=error, why=str(failure))
        else:
            SPOOLS_DAMAGED.inc()
            log.error("A spool is damaged", error=error, set_aside=str(damaged), saved=len(saved))

    # -- all of them

    @property
    def _files(self) -> list[SpoolFile]:
        """Those of others first."""
        return [*self._adopted, *([self._own] if self._own else [])]

    @property
    def _size(self) -> int:
        return sum(file.size for file in self._files)

    @property
    def _oldest_at(self) -> float | None:
        return min((file.oldest_at for file in self._files if file.oldest_at is not None), default=None)

    def _measure(self) -> None:
        SPOOL_RECORDS.set(sum(file.count for file in self._files))
        SPOOL_BYTES.set(self._size)
        SPOOL_AGE.set(0 if self._oldest_at is None else self._clock() - self._oldest_at)

    async def _blocking(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
