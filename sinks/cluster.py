"""Verifies before every insert that Kafka is still the cluster that this process started with.

Offsets of another cluster begin at zero, too: its records must not be stored under the first one's id.
Records polled before a successful `verify` are of the verified cluster, as a replaced one does not come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.metadata import MetadataRequest

from runtime.errors import KafkaUnavailable, StartupError
from runtime.kafka.clients import servers_of
from runtime.kafka.errors import translate_errors

REQUEST_TIMEOUT = 10


class ClusterChanged(StartupError):
    """The brokers are now those of another cluster; the records in memory are of the previous one."""


class ClusterGuard:
    """Has a connection of its own. The caller opens it before `verify`, and closes it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.id = ""
        self._options = options
        self._servers = servers_of(options)
        self._client: AIOKafkaClient | None = None
        self._lock = asyncio.Lock()  # a failed request closes the connection that others would use

    async def open(self, topics: Iterable[str]) -> dict[str, int]:
        """Learn the cluster's id; returns the number of partitions of each topic.

        Raises:
            KafkaUnavailable: no broker answers, or a topic does not exist yet.
        """
        response = await self._fetch_metadata([*topics])
        missing = sorted(topic for error, topic, *_ in response.topics if error)
        if missing:
            raise KafkaUnavailable(f"Kafka at {self._servers} has no topic {', '.join(missing)} yet")
        self.id = str(response.cluster_id)
        return {topic: len(partitions) for _, topic, _, partitions, *_ in response.topics}

    async def verify(self) -> None:
        """Check that the cluster is still the same.

        Raises:
            KafkaUnavailable: no broker answers.
            ClusterChanged: it is another one.
        """
        found = str((await self._fetch_metadata([])).cluster_id)
        if found != self.id:
            raise ClusterChanged(
                f"Kafka at {self._servers} was cluster {self.id} and is now {found}: restart for the new one"
            )

    async def close(self) -> None:
        if self._client:
            await self._client.close()
            self._client = None

    async def _fetch_metadata(self, topics: list[str]) -> Any:
        async with self._lock:
            try:
                with translate_errors(f"Kafka at {self._servers} does not answer"):
                    if not self._client:
                        self._client = AIOKafkaClient(
                            **self._options, request_timeout_ms=REQUEST_TIMEOUT * 1000
                        )
                        await self._client.bootstrap()
                    node = self._client.get_random_node()
                    request = MetadataRequest(topics, allow_auto_topic_creation=False)
                    return await self._client.send(node, request)
            except KafkaUnavailable:
                await self.close()
                raise
