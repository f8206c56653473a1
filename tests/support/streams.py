"""Streams worker processes, the postbacks produced for them, and the states that they write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from streams.contact import CONTACTS, Contact, decode_contact
from streams.contact_event import CONTACT_EVENTS
from streams.merge import Event
from streams.message import INPUTS, MESSAGES
from tests.support.gateway import free_address
from tests.support.kafka import PARTITIONS, create_topics
from tests.support.process import running
from tests.support.stage import RunningStage
from tests.support.wait import eventually
from tests.support.workload import compact, fold, lag, produce, read_all

#: Seconds until the partitions of a killed worker are reassigned; short, to keep tests fast.
SESSION_TIMEOUT = 4.0


class Streams:
    """A Kafka for the workers of a test, a folder for their states, and what was produced."""

    def __init__(self, kafka: str, folder: Path, partitions: int = PARTITIONS) -> None:
        self.kafka = kafka
        self.folder = folder
        self.partitions = partitions
        self.produced: list[Event] = []

    async def create_topics(self) -> None:
        await create_topics(self.kafka, self.partitions)

    @contextmanager
    def worker(self, name: str = "a", module: str = "streams", **settings: object) -> Iterator[RunningStage]:
        """Run a worker for the block. Each name has its own data folder."""
        ops = free_address()
        defaults = {
            "kafka": self.kafka,
            "partitions": self.partitions,
            "session_timeout": SESSION_TIMEOUT,
            "data": self.folder / name,
            "log_level": "warning",
        }
        with running(module, ops=ops, **(defaults | settings)) as process:
            yield RunningStage(process, ops)

    async def produce(self, events: Iterable[Event], rate: float = float("inf")) -> None:
        """Produce events to their topics, at most `rate` per second."""
        batch = list(events)
        self.produced += batch
        await produce(self.kafka, batch, self.partitions, rate)

    async def wait_committed(self) -> None:
        """Wait until streams has committed all inputs."""
        await eventually(lambda: lag(self.kafka, "streams", INPUTS), "all committed", lambda lag: lag == 0)

    async def wait_contacts_merged(self) -> None:
        """Wait until streams has committed all inputs, and the events of contacts that follow from them."""
        await self.wait_committed()
        events = [CONTACT_EVENTS]
        await eventually(lambda: lag(self.kafka, "streams", events), "all merged", lambda lag: lag == 0)

    async def contacts(self) -> dict[bytes, Contact]:
        """The contact in the last record of each key."""
        records = compact(await read_all(self.kafka, CONTACTS))
        return {key: decode_contact(value) for key, value in records.items()}

    async def messages(self) -> list[Any]:
        """Read all records of `messages`."""
        return await read_all(self.kafka, MESSAGES)

    async def wait_for_states(self, expected: dict[bytes, bytes]) -> None:
        """Wait until the last record of each key is exactly this."""
        await self.wait_for_messages("the expected states", lambda last: last == expected)

    async def wait_for_messages(
        self, description: str, holds: Callable[[dict[bytes, bytes]], object]
    ) -> dict[bytes, bytes]:
        """Wait until `holds` is true of the last record of each key; return those."""

        async def last_records() -> dict[bytes, bytes]:
            return compact(await self.messages())

        return dict(await eventually(last_records, description, holds))

    @property
    def expected(self) -> dict[bytes, bytes]:
        """The states that follow from everything produced, encoded, by key."""
        return fold(self.produced)

    async def produce_raw(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Produce raw records to a topic, partitioned by key."""
        async with AIOKafkaProducer(bootstrap_servers=self.kafka, acks="all") as producer:
            for key, value in records:
                partition = (murmur2(key or b"") & 0x7FFFFFFF) % self.partitions
                await producer.send_and_wait(topic, value, key=key, partition=partition)
