"""Records which engines a test run used, and why others were skipped; printed in its summary."""

from __future__ import annotations

import pytest


class Engines:
    """The engines used in this run, and those skipped with the reason."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.skipped: dict[str, str] = {}

    def skip(self, engine: str, reason: str) -> None:
        """Skip the current test, because its engine cannot run here."""
        self.skipped[engine] = reason
        pytest.skip(f"{engine}: {reason}")

    def as_data(self) -> tuple[list[str], dict[str, str]]:
        """Serialize for `merge` in another process."""
        return sorted(self.used), self.skipped

    def merge(self, data: tuple[list[str], dict[str, str]]) -> None:
        """Add the engines that another process of the same run used and skipped."""
        used, skipped = data
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
