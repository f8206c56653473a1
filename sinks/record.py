"""A Kafka record as the sink sees it: where it stands, and bytes that nobody here looks into."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Partition(NamedTuple):
    topic: str
    partition: int


class Record(Protocol):
    """aiokafka's ConsumerRecord is one."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, by the producer's clock or the broker's."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
