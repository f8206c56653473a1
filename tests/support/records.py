"""Kafka records that no broker has seen."""

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
