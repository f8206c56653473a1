"""What got 202 reaches Kafka in the end, whatever is killed in between; a full spool rejects records."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.kafka.cloudevents import Headers
from gateway.kafka.sink import KafkaSink
from gateway.postback import SENT
from gateway.sink import Durability, TooLarge, Unavailable
from gateway.spool import file as spool
from gateway.spool import sink as spool_sink
from gateway.spool.sink import SpoolingSink, SpoolLimits
from gateway.topics import gateway_topics
from runtime.errors import InvalidSetting
from runtime.health import Health
from runtime.kafka.clients import client_options
from runtime.settings import load_settings
from tests.support.gateway import (
    HEALTH,
    form_request,
    open_gateway,
    post,
    request,
    sent_form,
    wait_for_status,
)
from tests.support.small_disk import small_disk
from tests.support.spool import (
    file_size_limit,
    free_kafka_address,
    kafka_at,
    sent_message_ids,
    spool_postbacks,
    spooled_records,
)
from tests.support.wait import eventually

LINGER = 0.001
LIMITS = SpoolLimits(max_bytes=2**20, max_age=60, sync_timeout=30)


@pytest.mark.engine
async def test_next_gateway_publishes_spool_of_killed_one(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    with open_gateway(kafka, data=tmp_path, ack_timeout=0.5) as gateway:
        messages = await spool_postbacks(gateway, 50)
        gateway.process.kill()
    async with kafka_at(kafka, tmp_path / "kafka"):
        with open_gateway(kafka, data=tmp_path) as gateway:
            await gateway.wait_ready()
            assert set(await sent_message_ids(kafka, 50)) == set(messages)
            await eventually(lambda: gateway.metric("postbacks_gateway_spool_records") == 0, "spool empty")
            assert gateway.process.stop() == 0
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.engine
async def test_running_gateway_adopts_spool_of_stopped_one(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    with open_gateway(kafka, data=tmp_path, ack_timeout=0.5) as running:
        with open_gateway(kafka, data=tmp_path, ack_timeout=0.5) as stopped:
            messages = await spool_postbacks(stopped, 20)
            assert stopped.process.stop() == 0
        async with kafka_at(kafka, tmp_path / "kafka"):
            await running.wait_ready()
            assert set(await sent_message_ids(kafka, 20)) == set(messages)
            assert running.process.running


@pytest.mark.engine
async def test_full_spool_answers_503_until_drained(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    body = sent_form(ReferenceID="x" * 60_000)
    with open_gateway(kafka, data=tmp_path, ack_timeout=0.5, spool_bytes=2**20) as gateway:
        await wait_for_status(503, gateway.address, form_request(body))
        response = await request(gateway.address, form_request(body))
        assert (response.status, response.headers["retry-after"]) == (503, "5")
        assert (await request(gateway.address, HEALTH)).status == 503
        async with kafka_at(kafka, tmp_path / "kafka"):
            await wait_for_status(200, gateway.address, form_request(body))
            await wait_for_status(200, gateway.address, HEALTH)


async def test_gateway_quarantines_damaged_spool_at_start(fresh_kafka: str, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "garbage.spool").write_bytes(b"no database at all" * 100)
    with open_gateway(fresh_kafka, data=tmp_path) as gateway:
        assert gateway.metric("postbacks_gateway_spools_damaged_total") == 1
        assert (await post(gateway.address, sent_form())).status == 200
    assert (tmp_path / "spool" / "garbage.damaged").exists()


@pytest.mark.engine
async def test_spool_is_published_oldest_first(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    with open_gateway(kafka, data=tmp_path, ack_timeout=0.5, partitions=1) as gateway:
        messages = [message for _ in range(10) for message in await spool_postbacks(gateway, 1)]
        async with kafka_at(kafka, tmp_path / "kafka"):
            await gateway.wait_ready()
            assert await sent_message_ids(kafka, 10, partitions=1) == messages


class FailingSink:
    """A sink that rejects every record with `error`."""

    unavailable_reason: str | None = None
    error: Exception = Unavailable("not now")

    async def put(self, topic: str, key: bytes, value: bytes) -> Durability:
        raise self.error


async def test_wait_failed_raises_when_draining_fails(tmp_path: Path) -> None:
    kafka = FailingSink()
    async with SpoolingSink(kafka, tmp_path, LIMITS, time.time) as sink:
        assert await sink.put(SENT, b"default/1", b"{}") is Durability.SPOOLED
        kafka.error = ZeroDivisionError()  # an error that is not handled
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(sink.wait_failed(), 60)


async def test_unwritable_folder_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file, not a folder")
    with pytest.raises(InvalidSetting, match=f"POSTBACKS_DATA={tmp_path}: must be a folder to write to"):
        async with SpoolingSink(FailingSink(), tmp_path / "spool", LIMITS, time.time):
            pass


async def test_record_that_cannot_be_batched_fails(fresh_kafka: str) -> None:
    def broken_headers(topic: str, value: bytes) -> Headers:
        raise RuntimeError("a fault of ours")

    options = client_options(load_settings({"POSTBACKS_KAFKA": fresh_kafka}))
    async with KafkaSink(options, gateway_topics(8, 1), LINGER, 1.0, Health(), broken_headers) as sink:
        await sink.wait_ready()
        with pytest.raises(Unavailable, match="a fault of ours"):
            await asyncio.wait_for(sink.put(SENT, b"default/1", b"{}"), 10)


class SelectiveSink:
    """A sink that accepts records up to a size, except those of closed keys."""

    unavailable_reason: str | None = None

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.closed_keys: set[bytes] = set()
        self.accepted: asyncio.Queue[bytes] = asyncio.Queue()

    async def put(self, topic: str, key: bytes, value: bytes) -> Durability:
        if key in self.closed_keys:
            raise Unavailable("its partition has no leader")
        if len(value) > self.max_bytes:
            raise TooLarge(f"more than {self.max_bytes} bytes")
        self.accepted.put_nowait(value)
        return Durability.REPLICATED

    async def next_values(self, count: int) -> list[bytes]:
        """Wait for the next accepted values."""
        async with asyncio.timeout(30):
            return [await self.accepted.get() for _ in range(count)]


@asynccontextmanager
async def open_spool(
    kafka: SelectiveSink, folder: Path, records: Sequence[tuple[bytes, bytes]]
) -> AsyncIterator[SpoolingSink]:
    """A sink that spooled these keys and values during an outage, which is over now."""
    kafka.unavailable_reason = "an outage"
    async with SpoolingSink(kafka, folder, LIMITS, time.time) as sink:
        for key, value in records:
            assert await sink.put(SENT, key, value) is Durability.SPOOLED
        assert sink.has_records is bool(records)
        kafka.unavailable_reason = None
        yield sink


async def test_oversized_record_blocks_no_other_and_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_sink, "ADOPTION_INTERVAL", spool_sink.RETRY_INTERVAL / 10)
    monkeypatch.setattr(spool_sink, "PAGE_SIZE", 3)
    kafka, large = SelectiveSink(max_bytes=10), b"x" * 11
    small = [b"%d" % number for number in range(8)]
    values = [large, *small[:2], *[large] * 4, *small[2:]]
    async with open_spool(kafka, tmp_path, [(b"key", value) for value in values]) as sink:
        assert await kafka.next_values(8) == small
        kafka.max_bytes = 11
        assert await kafka.next_values(5) == [large] * 5
        await eventually(lambda: not sink.has_records, "nothing is spooled")
    assert kafka.accepted.empty()


async def test_only_unacknowledged_records_of_page_are_retried(tmp_path: Path) -> None:
    kafka = SelectiveSink(max_bytes=10)
    kafka.closed_keys = {b"b"}
    async with open_spool(kafka, tmp_path, [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]):
        assert await kafka.next_values(2) == [b"1", b"3"]
        kafka.closed_keys = set()
        assert await kafka.next_values(1) == [b"2"]
    assert kafka.accepted.empty()


async def test_failed_removal_publishes_records_once(tmp_path: Path) -> None:
    kafka = SelectiveSink(max_bytes=10)
    async with open_spool(kafka, tmp_path, [(b"key", b"%d" % number) for number in range(5)]) as sink:
        with file_size_limit(10_000):  # the journal is longer already
            assert len(await kafka.next_values(5)) == 5
            await asyncio.sleep(3 * spool_sink.RETRY_INTERVAL)  # failed retries cannot be observed
        await eventually(lambda: sink._spools.size == 0, "the spool is empty")
    assert kafka.accepted.empty()


async def test_gateway_starts_on_full_disk_and_spools_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 24 * 2**20) as mounted:
        if not mounted:
            pytest.skip("this user may not mount a disk")
        folder, ballast = tmp_path / "disk" / "spool", tmp_path / "disk" / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(65_536)):
                pass
        kafka = SelectiveSink(max_bytes=10)
        async with SpoolingSink(kafka, folder, LIMITS, time.time) as sink:
            assert await sink.put(SENT, b"key", b"1") is Durability.REPLICATED
            kafka.unavailable_reason = "an outage"
            with pytest.raises(Unavailable):
                await sink.put(SENT, b"key", b"2")
            assert list(folder.iterdir()) == []
            ballast.unlink()
            assert await sink.put(SENT, b"key", b"3") is Durability.SPOOLED
            kafka.unavailable_reason = None
            assert await kafka.next_values(2) == [b"1", b"3"]


async def test_damaged_spool_is_salvaged_once_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_sink, "ADOPTION_INTERVAL", 0.1)
    file = spool.create(tmp_path)
    file.append(spooled_records(2000))
    file.close()
    with file.path.open("r+b") as raw:
        raw.seek(file.path.stat().st_size // 2)
        raw.write(os.urandom(4096))
    kafka = SelectiveSink(max_bytes=1000)
    async with AsyncExitStack() as stack:
        with file_size_limit(300_000):
            sink = await stack.enter_async_context(SpoolingSink(kafka, tmp_path, LIMITS, time.time))
            assert await sink.put(SENT, b"key", b"new") is Durability.REPLICATED
        assert len(set(await kafka.next_values(1501))) > 1500
    assert file.path.with_suffix(".damaged").exists()
