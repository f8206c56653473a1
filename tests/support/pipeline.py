"""Streams and a sink on a Kafka and a ClickHouse, and `postbacks` commands about them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

from pydantic import SecretStr

from sinks.migrate import migrate
from tests.support.process import run_module
from tests.support.sinks import GROUP, run_worker, wait_committed
from tests.support.streams import Streams


class Pipeline(NamedTuple):
    """A Kafka with all topics, and a database with the schema."""

    streams: Streams
    clickhouse: str

    @property
    def kafka(self) -> str:
        return self.streams.kafka

    @property
    def settings(self) -> dict[str, object]:
        return {
            "kafka": self.kafka,
            "clickhouse": self.clickhouse,
            "partitions": self.streams.partitions,
        }

    async def store(self, group: str = GROUP) -> None:
        """Run a sink until it has stored everything in the topics; all of it if the group is new."""
        async with run_worker(self.kafka, self.clickhouse, group):
            await wait_committed(self.kafka, group)

    async def run(self) -> None:
        """Run streams, then a sink, until they have drained the topics."""
        with self.streams.worker():
            await self.streams.wait_committed()
        await self.store()

    async def command(self, *arguments: str) -> CompletedProcess[str]:
        """Run `postbacks arguments…` on this pipeline."""
        return await asyncio.to_thread(run_module, "cli", *arguments, **self.settings)


async def create_pipeline(kafka: str, database: str, folder: Path) -> Pipeline:
    """Create the topics and the schema; nothing runs yet."""
    pipeline = Pipeline(Streams(kafka, folder), database)
    await pipeline.streams.create_topics()
    await asyncio.to_thread(migrate, SecretStr(database))
    return pipeline
