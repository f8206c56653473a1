"""Where the gateway puts its records, and how durable they are then.

`gateway.kafka.sink` is one; `gateway.spool.sink` wraps it, and stores on disk while Kafka is unavailable.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class Durability(Enum):
    """What makes a record durable."""

    #: Every in-sync replica has it.
    REPLICATED = "by Kafka"
    #: It is on local disk, synced, and will be published.
    SPOOLED = "on disk"


class Unavailable(Exception):
    """The record is not known to be durable, though it may be; the text says why. Retrying may help."""


class TooLarge(Unavailable):
    """Kafka rejects the record for its size. Retrying helps only once the topic's limit is raised."""


class Sink(Protocol):
    """Stores records durably."""

    @property
    def unavailable_reason(self) -> str | None:
        """Why no record can be stored at present; None if some can. May lag behind the actual state."""

    async def put(self, topic: str, key: bytes, value: bytes) -> Durability:
        """Store a record, and return once it is durable. Fails within a bounded time.

        Raises:
            Unavailable: it is not known to be durable.
        """
