"""Where the gateway leaves its records, and what it may say about them: kept, and by whom, or not.

Kafka is one such place (`gateway.kafka.sink`); a place on disk for when Kafka is away stands before it with
the same interface.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class Durability(Enum):
    """What makes a record safe."""

    #: Every in-sync replica has it.
    REPLICATED = "by Kafka"
    #: It is on local disk, synced, and will be published.
    SPOOLED = "on disk"


class Unavailable(Exception):
    """The record is not known to be safe (it may be all the same); says why. Trying again later may help."""


class TooLarge(Unavailable):
    """Kafka refuses the record for its size, and will until somebody raises the topic's limit."""


class Sink(Protocol):
    """Takes records for good."""

    @property
    def away(self) -> str | None:
        """Why nothing at all can be kept now, as far as is known."""

    async def keep(self, topic: str, key: bytes, value: bytes) -> Durability:
        """Return once the record is safe, soon in any case.

        Raises:
            NotKept: it is not safe.
        """
