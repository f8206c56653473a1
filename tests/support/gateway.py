"""A gateway process, raw connections to it, and its records in Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import json

from gateway.postback import POSTBACK_TOPICS
from gateway.rejected import REJECTED
from gateway.submission import SUBMISSIONS
from tests.support.kafka import free_ports
from tests.support.process import running
from tests.support.stage import RunningStage
from tests.support.wait import eventually

TIMEOUT = 60.0
#: The probe of load balancers, on the public port.
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class RunningGateway(RunningStage):
    #: `host:port` of the public port.
    address: str


@contextmanager
def open_gateway(kafka: str, **settings: object) -> Iterator[RunningGateway]:
    """Run a gateway for the block, ready for requests; its `data` is in a temporary folder by default.

    It does not spool because the machine is busy, unless a test sets a short `ack_timeout`.
    """
    ops = free_address()
    with TemporaryDirectory() as data:
        defaults = {"kafka": kafka, "listen": "127.0.0.1:0", "ops": ops, "log_level": "error", "data": data}
        defaults["ack_timeout"] = "15"
        with running("gateway", **(defaults | settings)) as process:
            yield RunningGateway(process, ops, process.read_line())


def free_address() -> str:
    """Return `host:port` of a free loopback port, which no outgoing connection gets meanwhile."""
    return f"127.0.0.1:{free_ports(1)[0]}"


class HttpResponse(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A raw connection: the test controls every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the next status line and its headers (names in lower case)."""
        async with asyncio.timeout(TIMEOUT):
            head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode().rstrip().split("\r\n")
        fields = (line.partition(": ") for line in lines)
        return int(status.split()[1]), {name.lower(): value for name, _, value in fields}

    async def response(self) -> HttpResponse:
        """Read the next complete response."""
        status, headers = await self.head()
        async with asyncio.timeout(TIMEOUT):
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return HttpResponse(status, headers, body)

    async def wait_closed(self) -> bool:
        """Wait until the gateway closes the connection; return whether it sent nothing more."""
        async with asyncio.timeout(TIMEOUT):
            return await self._reader.read() == b""

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Connection]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def request(address: str, raw: bytes) -> HttpResponse:
    """Send one request on a new connection; return the response."""
    async with connect(address) as wire:
        await wire.send(raw)
        return await wire.response()


async def post(address: str, body: bytes, path: str = "/postback") -> HttpResponse:
    """Post a form; return the response."""
    return await request(address, form_request(body, path))


def sent_form(message_id: str = "", **fields: str) -> bytes:
    """Build the form of a *sent* postback, by default about a new message."""
    return urlencode({"SMSSent": 1, "MessageID": message_id or uuid4(), **fields}).encode()


def form_request(body: bytes, path: str = "/postback") -> bytes:
    """Build a minimal request with this body."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def find_record(
    kafka: str, partitions: int = 8, **fields: object
) -> tuple[str, bytes, dict[str, object]]:
    """Wait for a record with these fields in any of the gateway's topics; return topic, key and value."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", fetch_max_wait_ms=50)
    topics = (*POSTBACK_TOPICS, SUBMISSIONS, REJECTED)
    async with consumer, asyncio.timeout(TIMEOUT):
        consumer.assign([TopicPartition(topic, number) for topic in topics for number in range(partitions)])
        await consumer.seek_to_beginning()
        async for record in consumer:
            value = json.decode(record.value)
            if all(value.get(name) == field for name, field in fields.items()):
                return record.topic, record.key, value
    raise AssertionError("a consumer never stops iterating")


async def wait_for_status(status: int, address: str, raw: bytes) -> None:
    """Repeat the request until the response has this status."""
    await eventually(
        lambda: request(address, raw), f"status {status}", lambda response: response.status == status
    )
