"""A sink that spools to disk what Kafka does not acknowledge, and publishes it once Kafka is available.

New records go to Kafka first. In the background the spools are drained, oldest record first; a record is
removed only after Kafka acknowledged it. A record may thus be in Kafka twice (it was written although not
acknowledged in time, or the process died between acknowledgement and removal); both have the same event_id,
so it counts once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from gateway.sink import Durability, Sink, TooLarge, Unavailable
from gateway.spool.directory import SpoolDirectory
from gateway.spool.file import SpoolDamaged, Spooled, SpoolFailed, SpoolFile
from runtime.errors import InvalidSetting
from runtime.metrics import SPOOL_AGE, SPOOL_BYTES, SPOOL_LIMIT_BYTES, SPOOL_RECORDS, SPOOLED

log = structlog.get_logger(__name__)

#: A record with its id in its spool.
Entry = tuple[int, Spooled]

#: Records that are read and published together.
PAGE_SIZE = 500
#: Seconds until the next attempt to publish when nothing could be, and between searches for orphaned spools.
RETRY_INTERVAL, ADOPTION_INTERVAL = 0.5, 10.0


@dataclass(frozen=True)
class SpoolLimits:
    """When the spool rejects records."""

    #: Bytes of keys and values.
    max_bytes: int
    #: Seconds since the oldest record was spooled.
    max_age: float
    #: Seconds within which a record must be synced to disk.
    sync_timeout: float


class SpoolingSink:
    """A `Sink` in front of another one. Use as an asynchronous context manager: owns a spool in the block."""

    def __init__(self, kafka: Sink, folder: Path, limits: SpoolLimits, clock: Callable[[], float]) -> None:
        """
        Args:
            folder: where the spools are, in POSTBACKS_DATA.
            clock: seconds since 1970.
        """
        self._folder = folder
        self._kafka = kafka
        self._limits = limits
        self._clock = clock
        self._spools = SpoolDirectory(folder)
        self._buffered: list[tuple[Spooled, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        #: Whether to try records again that are too large for Kafka, once the others have been tried.
        self._retry_skipped = False

    async def __aenter__(self) -> Self:
        """Create a spool, adopt orphaned ones, start publishing.

        Raises:
            InvalidSetting: the directory is not writable.
        """
        try:
            await self._spools.open()
        except SpoolFailed as error:
            data = self._folder.parent
            raise InvalidSetting(f"POSTBACKS_DATA={data}: must be a folder to write to ({error})") from None
        self._measure()
        SPOOL_LIMIT_BYTES.set(self._limits.max_bytes)
        self._tasks = [asyncio.create_task(work()) for work in (self._drain, self._adopt_orphaned)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop publishing and flush; spooled records stay on disk for the next gateway on the directory."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        if self._flushing:
            await self._flushing
        await self._spools.close()

    async def wait_failed(self) -> None:
        """Never return; raise if the spool is no longer drained, which only a restart can fix."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    @property
    def has_records(self) -> bool:
        """Whether records were spooled that are not published yet."""
        return self._spools.count > 0

    @property
    def unavailable_reason(self) -> str | None:
        """Why no record can be put now; None while Kafka or the disk accepts records."""
        if not self._kafka.unavailable_reason:
            return None
        try:
            self._check_limits()
        except Unavailable as error:
            return str(error)
        return None

    async def put(self, topic: str, key: bytes, value: bytes) -> Durability:
        """Return once every in-sync replica has the record, or else once it is synced to disk.

        Raises:
            Unavailable: neither was possible in time.
        """
        if not self._kafka.unavailable_reason:
            with suppress(Unavailable):
                return await self._kafka.put(topic, key, value)
        return await self._spool(Spooled(topic, key, value, self._clock()))

    # -- into the spool

    def _check_limits(self) -> None:
        """
        Raises:
            Unavailable: the spool is full, or has not been drained for too long.
        """
        buffered = sum(record.size for record, _ in self._buffered)
        if self._spools.size + buffered >= self._limits.max_bytes:
            raise Unavailable(f"the spool is full ({self._limits.max_bytes} bytes)")
        oldest = self._spools.oldest_at
        if oldest is not None and self._clock() - oldest > self._limits.max_age:
            raise Unavailable(f"the oldest spooled record is older than {self._limits.max_age:g} s")

    async def _spool(self, record: Spooled) -> Durability:
        self._check_limits()
        synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffered.append((record, synced))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        try:
            await asyncio.wait_for(synced, self._limits.sync_timeout)
        except TimeoutError:
            raise Unavailable(f"the disk did not sync within {self._limits.sync_timeout:g} s") from None
        SPOOLED.inc()
        return Durability.SPOOLED

    async def _flush(self) -> None:
        """Append buffered records; those that arrive during a sync share the next transaction."""
        while self._buffered:
            batch, self._buffered = self._buffered, []
            try:
                await self._spools.append([record for record, _ in batch])
            except (SpoolFailed, SpoolDamaged) as error:
                log.error("Spool write failed", error=str(error))
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
            if self._kafka.unavailable_reason or not await self._publish_page():
                self._measure()
                await asyncio.sleep(RETRY_INTERVAL)
                if self._retry_skipped:  # not between two pages: records behind come first
                    self._retry_skipped = False
                    for file in self._spools:
                        file.skip_through = 0

    async def _publish_page(self) -> bool:
        """Publish the oldest records of one spool; return whether Kafka acknowledged or refused any."""
        for file in self._spools:
            try:
                if file.count and await self._publish_from(file):
                    return True
            except SpoolFailed as error:
                log.error("Spool read failed", error=str(error))
        return False

    async def _publish_from(self, file: SpoolFile) -> bool:
        skipped = file.skip_through
        try:
            if not file.published:
                entries = await self._spools.run_in_thread(file.peek, PAGE_SIZE)
                file.published = await self._publish(file, entries)
            if published := file.published:
                await self._spools.run_in_thread(file.remove, published)  # if it fails, only this is retried
                file.published = ()
        except SpoolDamaged as error:
            await self._spools.replace(file, str(error))
            return False
        await self._spools.close_if_drained(file)
        self._measure()
        return bool(published) or file.skip_through > skipped

    async def _publish(self, file: SpoolFile, entries: Sequence[Entry]) -> list[Entry]:
        """Publish the records and return those that Kafka acknowledged.

        Records that are too large for Kafka are skipped until `_retry_skipped`: they must not block the
        others.
        """
        results = await asyncio.gather(
            *(self._kafka.put(record.topic, record.key, record.value) for _, record in entries),
            return_exceptions=True,
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            if not isinstance(failure, Unavailable):
                raise failure
        if failures and all(isinstance(failure, TooLarge) for failure in failures):
            log.error("Records too large for Kafka", records=len(failures), error=str(failures[0]))
            file.skip_through = entries[-1][0]
        return [
            entry for entry, result in zip(entries, results, strict=True) if isinstance(result, Durability)
        ]

    async def _adopt_orphaned(self) -> None:
        while True:
            await asyncio.sleep(ADOPTION_INTERVAL)
            await self._spools.adopt()
            self._measure()
            self._retry_skipped = True  # the topic's size limit may have been raised

    def _measure(self) -> None:
        oldest = self._spools.oldest_at
        SPOOL_RECORDS.set(self._spools.count)
        SPOOL_BYTES.set(self._spools.size)
        SPOOL_AGE.set(0 if oldest is None else self._clock() - oldest)
