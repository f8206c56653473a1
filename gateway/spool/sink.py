"""The sink that goes on while Kafka is away: what Kafka does not take goes to disk, and from there to Kafka.

New records go straight to Kafka whenever it answers; in the background the spool is published, oldest first,
and a record leaves it only after Kafka's acknowledgement. A record can so be in Kafka twice (it landed after
all, or a process died between acknowledgement and removal): it is the same bytes, so whoever counts events
counts one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.sink import Durability, Sink, TooLarge, Unavailable
from gateway.spool.directory import SpoolDirectory
from gateway.spool.file import SpoolDamaged, Spooled, SpoolFailed, SpoolFile
from runtime.metrics import SPOOL_AGE, SPOOL_BYTES, SPOOL_LIMIT_BYTES, SPOOL_RECORDS, SPOOLED

log = structlog.get_logger(__name__)

#: A record with its id in its spool.
Entry = tuple[int, Spooled]

#: Records that are read and published together.
DRAIN_RECORDS = 500
#: Seconds between looks at a spool that cannot be published now, and for spools that lost their owner.
PAUSE, ADOPTION_PAUSE = 0.5, 10.0


@dataclass(frozen=True)
class SpoolLimits:
    """Where the spool ends: it is full, or the disk does not answer."""

    #: Bytes of keys and values.
    size: int
    #: Seconds that its oldest record has waited.
    age: float
    #: Seconds until a record must be synced.
    sync: float


class SpoolingSink:
    """A sink before another one. From `open` to `close` it owns a spool, publishes and adopts."""

    def __init__(self, kafka: Sink, folder: Path, limits: SpoolLimits, clock: Callable[[], float]) -> None:
        self._kafka = kafka
        self._limits = limits
        self._clock = clock
        self._spools = SpoolDirectory(folder)
        self._waiting: list[tuple[Spooled, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make a spool, adopt those without an owner, begin to publish.

        Raises:
            SpoolFailed: the folder cannot be written.
        """
        await self._spools.open()
        self._measure()
        SPOOL_LIMIT_BYTES.set(self._limits.size)
        self._working = [asyncio.create_task(work()) for work in (self._drain, self._keep_adopting)]

    async def close(self) -> None:
        """What is spooled stays on disk, for the next one that opens the folder."""
        for task in self._working:
            task.cancel()
        await asyncio.wait(self._working)
        if self._writer:
            await self._writer
        await self._spools.close()

    async def failed(self) -> None:
        """Return never, but raise when the spool is no longer published, which only a restart mends."""
        ended, _ = await asyncio.wait(self._working, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    @property
    def away(self) -> str | None:
        return self._kafka.away and self._full

    async def keep(self, topic: str, key: bytes, value: bytes) -> Durability:
        if not self._kafka.away:
            with suppress(Unavailable):
                return await self._kafka.keep(topic, key, value)
        return await self._keep_on_disk(Spooled(topic, key, value, self._clock()))

    # -- into the spool

    @property
    def _full(self) -> str | None:
        waiting = sum(record.size for record, _ in self._waiting)
        if self._spools.size + waiting >= self._limits.size:
            return f"the spool is full ({self._limits.size} bytes)"
        oldest = self._spools.oldest_at
        if oldest is not None and self._clock() - oldest > self._limits.age:
            return f"the spool's oldest record has waited for more than {self._limits.age:g} s"
        return None

    async def _keep_on_disk(self, record: Spooled) -> Durability:
        if full := self._full:
            raise Unavailable(full)
        synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, synced))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        try:
            await asyncio.wait_for(synced, self._limits.sync)
        except TimeoutError:
            raise Unavailable("the disk does not answer") from None
        SPOOLED.inc()
        return Durability.SPOOLED

    async def _write(self) -> None:
        """One transaction, and so one sync of the disk, for all that came while the last one was synced."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._spools.append([record for record, _ in batch])
            except (SpoolFailed, SpoolDamaged) as error:
                log.error("The spool takes nothing", error=str(error))
                for _, synced in batch:
                    if not synced.done():
                        synced.set_exception(Unavailable(str(error)))
            else:
                for _, synced in batch:
                    if not synced.done():
                        synced.set_result(None)
            self._measure()

    # -- out of the spool

    async def _drain(self) -> None:
        while True:
            if self._kafka.away or not await self._publish_some():
                self._measure()
                await asyncio.sleep(PAUSE)

    async def _publish_some(self) -> bool:
        """Publish the oldest records of one spool; whether Kafka took any."""
        for file in self._spools:
            try:
                if file.count and await self._publish_some_of(file):
                    return True
            except SpoolFailed as error:
                log.error("The spool cannot be read", error=str(error))
        return False

    async def _publish_some_of(self, file: SpoolFile) -> bool:
        try:
            if not file.published:
                records = await self._spools.blocking(file.oldest, DRAIN_RECORDS)
                file.published = await self._publish(file, records)
            if kept := file.published:
                await self._spools.blocking(file.remove, kept)  # tried again alone: Kafka has them once
                file.published = ()
        except SpoolDamaged as error:
            await self._spools.replace(file, str(error))
            return False
        await self._spools.drop_empty(file)
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
            if not isinstance(failure, Unavailable):
                raise failure
        if failures and all(isinstance(failure, TooLarge) for failure in failures):
            log.error("Kafka refuses records for their size", records=len(failures), error=str(failures[0]))
            file.passed_over = records[-1][0]
        return [
            entry for entry, answer in zip(records, answers, strict=True) if isinstance(answer, Durability)
        ]

    async def _keep_adopting(self) -> None:
        while True:
            await asyncio.sleep(ADOPTION_PAUSE)
            await self._spools.adopt()
            self._measure()
            for file in self._spools:
                file.passed_over = 0  # somebody may have raised the topic's limit

    def _measure(self) -> None:
        oldest = self._spools.oldest_at
        SPOOL_RECORDS.set(self._spools.count)
        SPOOL_BYTES.set(self._spools.size)
        SPOOL_AGE.set(0 if oldest is None else self._clock() - oldest)
