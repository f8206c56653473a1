"""Streams worker processes, the postbacks produced for them, and the states that they write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from gateway.postback import POSTBACK_TOPICS, AnyPostback
from gateway.topics import gateway_topics
from runtime.kafka.clients import client_options
from runtime.kafka.topics import ensure_topics
from runtime.settings import load_settings
from streams.message import MESSAGES
from streams.topics import messages_topic
from tests.support.gateway import free_address
from tests.support.process import Process, running
from tests.support.workload import compact, fold, lag, produce, read_all

TIMEOUT = 90.0
POLL_INTERVAL = 0.2
#: Seconds until the partitions of a killed worker are reassigned; short, to keep tests fast.
SESSION_TIMEOUT = 4.0


class Worker(NamedTuple):
    ops: str
    process: Process

    async def wait_ready(self) -> None:
        """Wait until /readyz reports no problems."""
        async with asyncio.timeout(TIMEOUT):
            while await self.get("readyz") != "ready\n":
                assert self.process.running, f"the worker exited with {self.process.popen.returncode}"
                await asyncio.sleep(POLL_INTERVAL)

    async def get(self, path: str) -> str:
        """Return a body from the ops port; empty while the port is closed."""
        try:
            async with aiohttp.request("GET", f"http://{self.ops}/{path}") as response:
                return await response.text()
        except aiohttp.ClientConnectionError:
            return ""

    async def metric(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        lines = (line.rpartition(" ") for line in (await self.get("metrics")).splitlines())
        prefix = f"postbacks_streams_{name}"
        return sum(float(value) for sample, _, value in lines if sample.partition("{")[0] == prefix)


class Streams:
    """A Kafka for the workers of a test, a folder for their states, and what was produced."""

    def __init__(self, kafka: str, folder: Path, partitions: int = 4) -> None:
        self.kafka = kafka
        self.folder = folder
        self.partitions = partitions
        self.produced: list[AnyPostback] = []

    def settings(self, name: str = "a", **settings: object) -> dict[str, str]:
        """Return the environment of a worker; each name has its own data folder."""
        environment = {
            "kafka": self.kafka,
            "partitions": self.partitions,
            "session_timeout": SESSION_TIMEOUT,
            "data": self.folder / name,
            "log_level": "warning",
        } | settings
        return {f"POSTBACKS_{key.upper()}": str(value) for key, value in environment.items()}

    async def create_topics(self) -> None:
        settings = load_settings(self.settings())
        specs = [*gateway_topics(self.partitions, 1), messages_topic(self.partitions, 1)]
        await ensure_topics(client_options(settings), specs, timeout=60)

    @contextmanager
    def worker(self, name: str = "a", **settings: object) -> Iterator[Worker]:
        """Run a worker for the block; it is killed at the end."""
        ops = free_address()
        with running("streams", environment=self.settings(name, ops=ops, **settings)) as process:
            yield Worker(ops, process)

    async def produce(self, postbacks: Iterable[AnyPostback], rate: float = float("inf")) -> None:
        """Produce postbacks to their topics, at most `rate` per second."""
        batch = list(postbacks)
        self.produced += batch
        await produce(self.kafka, batch, self.partitions, rate)

    async def wait_committed(self) -> None:
        """Wait until streams has committed all postbacks."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                if not await lag(self.kafka, "streams", POSTBACK_TOPICS):
                    return
                await asyncio.sleep(POLL_INTERVAL)

    async def messages(self) -> list[Any]:
        """Read all records of `messages`."""
        return await read_all(self.kafka, MESSAGES)

    async def wait_for_states(self, expected: dict[bytes, bytes]) -> None:
        """Wait until the last record of each key is exactly this."""
        got: dict[bytes, bytes] = {}
        try:
            async with asyncio.timeout(TIMEOUT):
                while True:
                    got = compact(await self.messages())
                    if got == expected:
                        return
                    await asyncio.sleep(POLL_INTERVAL)
        except TimeoutError:
            assert got == expected

    @property
    def expected(self) -> dict[bytes, bytes]:
        """The states that follow from all produced postbacks, encoded, by key."""
        return fold(self.produced)

    async def produce_raw(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Produce raw records to a topic, partitioned by key."""
        async with AIOKafkaProducer(bootstrap_servers=self.kafka, acks="all") as producer:
            for key, value in records:
                partition = (murmur2(key or b"") & 0x7FFFFFFF) % self.partitions
                await producer.send_and_wait(topic, value, key=key, partition=partition)
