"""Records which engines a test run used, and why others were skipped; printed in its summary.

Tests that start an engine have the mark `engine`, so that `make check` can leave them out.
"""

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


class UnmarkedTest(Exception):
    """A test without the mark `engine` starts one."""


_test_without_engine: str | None = None


def set_current_test(item: pytest.Item | None) -> None:
    """Set the test that runs now; None outside of tests, where any engine may be started."""
    global _test_without_engine
    _test_without_engine = item.nodeid if item and not item.get_closest_marker("engine") else None


def check_mark() -> None:
    """Check, before an engine is started, that the current test is marked.

    Raises:
        UnmarkedTest: it is not.
    """
    if _test_without_engine:
        raise UnmarkedTest(f"{_test_without_engine} starts an engine: mark it with pytest.mark.engine")


APACHE = "Kafka: Apache, embedded"
CHDB = "ClickHouse: chDB, embedded"
KAFKA_CONTAINER = "Kafka: Apache, in a container"
CLICKHOUSE_CONTAINER = "ClickHouse: server, in a container"
