"""Kafka records without a broker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FakeRecord:
    topic: str = "postbacks.sent"
    partition: int = 0
    offset: int = 0
    timestamp: int = 1_795_435_200_000
    key: bytes | None = b"acme/9a35e913-ded0-7574-4642-5f60c550c706"
    value: bytes | None = b"{}"
    headers: tuple[tuple[str, bytes], ...] = ()


def fake_records(*offsets: int, partition: int = 0, value: bytes = b"{}") -> list[FakeRecord]:
    """Records at these offsets of a partition."""
    return [FakeRecord(partition=partition, offset=offset, value=value) for offset in offsets]
