"""Which Kafka cluster this is, asked again before every insert: rows must not be stored under another's name.

A cluster that takes another one's place has offsets from zero on, too. Records that were read before a
successful `confirm` are of this cluster, as a cluster that is gone does not come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from runtime.errors import KafkaUnavailable, StartupError

REQUEST_SECONDS = 10


class ClusterChanged(StartupError):
    """The brokers are others than at the start; whatever this process holds is of a cluster that is gone."""


class ClusterGuard:
    """A connection of its own to the brokers. `open` it first, `close` it at the end."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.id = ""
        self._options = options
        self._client: AIOKafkaClient | None = None
        self._asking = asyncio.Lock()  # who finds the connection broken closes it for all

    async def open(self, topics: Iterable[str]) -> dict[str, int]:
        """Learn which cluster it is, and how many partitions these topics have, which it must have.

        Raises:
            KafkaAway: no broker answers, or the topics are not there yet.
        """
        response = await self._ask([*topics])
        missing = sorted(topic for error, topic, *_ in response.topics if error)
        if missing:
            raise KafkaUnavailable(f"Kafka at {self._servers} has no topic {', '.join(missing)} yet")
        self.id = str(response.cluster_id)
        return {topic: len(partitions) for _, topic, _, partitions, *_ in response.topics}

    async def confirm(self) -> None:
        """
        Raises:
            KafkaAway: no broker answers.
            ClusterChanged: they are of another cluster.
        """
        now = str((await self._ask([])).cluster_id)
        if now != self.id:
            raise ClusterChanged(
                f"Kafka at {self._servers} was cluster {self.id} and is {now} now: start anew for that one"
            )

    async def close(self) -> None:
        if self._client:
            await self._client.close()
            self._client = None

    async def _ask(self, topics: list[str]) -> Any:
        async with self._asking:
            try:
                if not self._client:
                    self._client = AIOKafkaClient(**self._options, request_timeout_ms=REQUEST_SECONDS * 1000)
                    await self._client.bootstrap()
                node = self._client.get_random_node()
                question = MetadataRequest(topics, allow_auto_topic_creation=False)
                return await self._client.send(node, question)
            except (KafkaError, OSError, TimeoutError) as error:
                await self.close()
                raise KafkaUnavailable(
                    f"Kafka at {self._servers} does not answer: {error or type(error).__name__}"
                ) from error

    @property
    def _servers(self) -> str:
        return ",".join(self._options["bootstrap_servers"])
