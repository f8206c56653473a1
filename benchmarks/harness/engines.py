"""The engines that benchmarks run on, as processes of their own that end with the block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from embedded.kafka.jars import version
from tests.support.kafka import ApacheKafka
from tests.support.process import running


class Engine(NamedTuple):
    """One that runs: what it is, where it is, and its process."""

    name: str
    address: str
    pid: int


@contextmanager
def kafka(folder: Path, properties: Mapping[str, str] | None = None) -> Iterator[Engine]:
    """Apache Kafka, one node."""
    cluster = ApacheKafka(folder / "kafka", properties=properties)
    try:
        cluster.start()
        (node,) = cluster.nodes
        assert node.process
        yield Engine(f"Apache Kafka {version()}, one node", cluster.address, node.process.pid)
    finally:
        cluster.end()


@contextmanager
def clickhouse(folder: Path) -> Iterator[Engine]:
    """The embedded ClickHouse behind its HTTP interface, as `http://default:@host:port`."""
    with running("embedded", "clickhouse", "--port", "0", "--data", folder / "clickhouse") as process:
        yield Engine("ClickHouse embedded (chDB)", process.line(), process.popen.pid)
