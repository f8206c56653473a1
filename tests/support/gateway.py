"""A gateway as a process of its own, raw connections to it, and what it leaves in Kafka."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import json

from gateway.postback import POSTBACK_TOPICS, REJECTED
from tests.support.process import Process, running

SECONDS = 60.0
POLL_SECONDS = 0.05


class RunningGateway(NamedTuple):
    address: str
    ops: str
    process: Process

    async def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        text = (await request(self.ops, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")).body.decode()
        prefix = f"postbacks_gateway_{name}"
        lines = (line.rpartition(" ") for line in text.splitlines())
        return sum(float(value) for sample, _, value in lines if sample.partition("{")[0] == prefix)

    async def reaches(self, name: str, least: float) -> None:
        """Wait until a metric is as high as that."""
        async with asyncio.timeout(SECONDS):
            while True:
                if await self.metric(name) >= least:
                    return
                await asyncio.sleep(POLL_SECONDS)


@contextmanager
def open_gateway(kafka: str, **settings: str) -> Iterator[RunningGateway]:
    """A gateway whose port is open; settings by their names without the prefix, in lower case.

    Without `data` among them it has a folder of its own, which goes with it.
    """
    ops = free_address()
    with TemporaryDirectory() as data:
        defaults = {"kafka": kafka, "listen": "127.0.0.1:0", "ops": ops, "log_level": "error", "data": data}
        environment = {f"POSTBACKS_{name.upper()}": value for name, value in (defaults | settings).items()}
        with running("gateway", environment=environment) as process:
            yield RunningGateway(process.line(), ops, process)


def free_address() -> str:
    """An address of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A connection on which every byte is the test's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """The next status line with its headers (names in lower case)."""
        async with asyncio.timeout(SECONDS):
            head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode().rstrip().split("\r\n")
        fields = (line.partition(": ") for line in lines)
        return int(status.split()[1]), {name.lower(): value for name, _, value in fields}

    async def answer(self) -> Answer:
        """The next whole answer."""
        status, headers = await self.head()
        async with asyncio.timeout(SECONDS):
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(status, headers, body)

    async def closed(self) -> bool:
        """Wait until the other side closes; whether it said nothing more before."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.read() == b""

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def connection(address: str) -> AsyncIterator[Connection]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def request(address: str, raw: bytes) -> Answer:
    """The answer to one request on a connection of its own."""
    async with connection(address) as wire:
        await wire.send(raw)
        return await wire.answer()


async def post(address: str, body: bytes, path: str = "/postback") -> Answer:
    """The answer to a form."""
    return await request(address, form(body, path))


def form(body: bytes, path: str = "/postback") -> bytes:
    """A request with that body, as short as HTTP allows."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def kept(kafka: str, partitions: int = 8, **wanted: object) -> tuple[str, bytes, dict[str, object]]:
    """The first record with these fields in any topic of the gateway, waited for: topic, key, value."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", fetch_max_wait_ms=50)
    topics = (*POSTBACK_TOPICS, REJECTED)
    async with consumer, asyncio.timeout(SECONDS):
        consumer.assign([TopicPartition(topic, number) for topic in topics for number in range(partitions)])
        await consumer.seek_to_beginning()
        async for record in consumer:
            value = json.decode(record.value)
            if all(value.get(name) == field for name, field in wanted.items()):
                return record.topic, record.key, value
    raise AssertionError("a consumer never ends by itself")


async def until(status: int, address: str, raw: bytes) -> None:
    """Ask again and again until that is the answer."""
    async with asyncio.timeout(SECONDS):
        while True:
            if (await request(address, raw)).status == status:
                return
            await asyncio.sleep(POLL_SECONDS)
