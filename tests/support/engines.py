"""Which engines a run used, and why it did without the others; printed at its end."""

from __future__ import annotations

import pytest


class Engines:
    """What each engine was good for in this run: that it was used, or the reason why not."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.skipped: dict[str, str] = {}

    def skip(self, engine: str, reason: str) -> None:
        """Skip the test that asks for an engine that cannot run here."""
        self.skipped[engine] = reason
        pytest.skip(f"{engine}: {reason}")

    def as_data(self) -> tuple[list[str], dict[str, str]]:
        """What `add` takes, for other processes."""
        return sorted(self.used), self.skipped

    def add(self, others: tuple[list[str], dict[str, str]]) -> None:
        """Take over what another process of the same run used and skipped."""
        used, skipped = others
        self.used |= set(used)
        self.skipped |= skipped

    def lines(self) -> list[str]:
        return [f"used: {engine}" for engine in sorted(self.used)] + [
            f"skipped: {engine} ({reason})" for engine, reason in sorted(self.skipped.items())
        ]


APACHE = "Kafka: Apache, embedded"
CHDB = "ClickHouse: chDB, embedded"
KAFKA_CONTAINER = "Kafka: Apache, in a container"
CLICKHOUSE_CONTAINER = "ClickHouse: server, in a container"
