"""Workers of streams as processes of their own on a Kafka, what they are given, and what they make of it."""

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
from tests.support.workload import fold, lag, last, produce, read_all

SECONDS = 90.0
POLL_SECONDS = 0.2
#: Seconds until a killed worker's partitions are given away; short, so that tests are.
SESSION = 4.0


class Worker(NamedTuple):
    ops: str
    process: Process

    async def ready(self) -> None:
        """Wait until it says that nothing is missing."""
        async with asyncio.timeout(SECONDS):
            while await self.ask("readyz") != "ready\n":
                assert self.process.running, f"it ended with {self.process.popen.returncode}"
                await asyncio.sleep(POLL_SECONDS)

    async def ask(self, path: str) -> str:
        """What it answers on its operator's port; empty while that is not open."""
        try:
            async with aiohttp.request("GET", f"http://{self.ops}/{path}") as answer:
                return await answer.text()
        except aiohttp.ClientConnectionError:
            return ""

    async def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = (line.rpartition(" ") for line in (await self.ask("metrics")).splitlines())
        wanted = f"postbacks_streams_{name}"
        return sum(float(value) for sample, _, value in lines if sample.partition("{")[0] == wanted)


class Streams:
    """A Kafka that has all topics, and a folder for the states of workers."""

    def __init__(self, kafka: str, folder: Path, partitions: int = 4) -> None:
        self.kafka = kafka
        self.folder = folder
        self.partitions = partitions
        self.given: list[AnyPostback] = []

    def settings(self, name: str = "a", **settings: object) -> dict[str, str]:
        """The environment of a worker of that name; each name has a folder of its own."""
        chosen = {
            "kafka": self.kafka,
            "partitions": self.partitions,
            "session_timeout": SESSION,
            "data": self.folder / name,
            "log_level": "warning",
        } | settings
        return {f"POSTBACKS_{key.upper()}": str(value) for key, value in chosen.items()}

    async def make_topics(self) -> None:
        settings = load_settings(self.settings())
        specs = [*gateway_topics(settings), messages_topic(settings)]
        await ensure_topics(client_options(settings), specs, patience=60)

    @contextmanager
    def worker(self, name: str = "a", **settings: object) -> Iterator[Worker]:
        """A worker, killed at the end of the block if it still runs then."""
        ops = free_address()
        with running("streams", environment=self.settings(name, ops=ops, **settings)) as process:
            yield Worker(ops, process)

    async def give(self, postbacks: Iterable[AnyPostback], rate: float = float("inf")) -> None:
        """Put postbacks into their topics."""
        news = list(postbacks)
        self.given += news
        await produce(self.kafka, news, self.partitions, rate)

    async def merged(self) -> None:
        """Wait until all that is in the topics is committed."""
        async with asyncio.timeout(SECONDS):
            while True:
                if not await lag(self.kafka, "streams", POSTBACK_TOPICS):
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def messages(self) -> list[Any]:
        """All records of `messages`."""
        return await read_all(self.kafka, MESSAGES)

    async def last_is(self, wanted: dict[bytes, bytes]) -> None:
        """Wait until the last records of all keys are just these."""
        got: dict[bytes, bytes] = {}
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    got = last(await self.messages())
                    if got == wanted:
                        return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            assert got == wanted

    @property
    def folded(self) -> dict[bytes, bytes]:
        """What all that was given comes to."""
        return fold(self.given)

    async def write(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Put records into a topic by hand, on the partitions of their keys."""
        async with AIOKafkaProducer(bootstrap_servers=self.kafka, acks="all") as producer:
            for key, value in records:
                partition = (murmur2(key or b"") & 0x7FFFFFFF) % self.partitions
                await producer.send_and_wait(topic, value, key=key, partition=partition)
