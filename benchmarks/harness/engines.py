"""The engines that benchmarks run on, each a process of its own for the duration of a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from embedded.kafka.installation import version
from tests.support.kafka import ApacheKafka
from tests.support.sinks import open_clickhouse as start_clickhouse


class EngineProcess(NamedTuple):
    """A running engine; `name` includes its version, if it has one."""

    name: str
    address: str
    pid: int


@contextmanager
def open_kafka(folder: Path, properties: Mapping[str, str] | None = None) -> Iterator[EngineProcess]:
    """Run Apache Kafka, one node."""
    cluster = ApacheKafka(folder / "kafka", properties=properties)
    try:
        cluster.start()
        (node,) = cluster.nodes
        assert node.process
        yield EngineProcess(f"Apache Kafka {version()}, one node", cluster.address, node.process.pid)
    finally:
        cluster.kill()


@contextmanager
def open_clickhouse(folder: Path) -> Iterator[EngineProcess]:
    """Run the embedded ClickHouse behind its HTTP interface, `http://default:@host:port`."""
    with start_clickhouse(folder / "clickhouse") as process:
        yield EngineProcess("ClickHouse embedded (chDB)", process.read_line(), process.pid)
