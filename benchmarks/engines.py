"""The engines that benchmarks run on, as processes of their own that end with the block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.apache_kafka import VERSION, ApacheKafka, missing_tools
from tests.processes import running


class Engine(NamedTuple):
    """One that runs: what it is, where it is, and its process."""

    name: str
    address: str
    pid: int


@contextmanager
def kafka(folder: Path) -> Iterator[Engine]:
    """Apache Kafka, one node, where Java and Maven are there; else the embedded broker."""
    if missing := missing_tools():
        with running("local", "kafka", "--port", "0") as process:
            yield Engine(f"Tansu, embedded ({missing})", process.line(), process.popen.pid)
        return
    cluster = ApacheKafka(folder / "kafka")
    try:
        cluster.start()
        (node,) = cluster.nodes
        assert node.process
        yield Engine(f"Apache Kafka {VERSION}, one node", cluster.address, node.process.pid)
    finally:
        cluster.end()


@contextmanager
def clickhouse(folder: Path) -> Iterator[Engine]:
    """The embedded ClickHouse behind its HTTP interface, as `http://default:@host:port`."""
    with running("local", "clickhouse", "--port", "0", "--data", folder / "clickhouse") as process:
        yield Engine("ClickHouse embedded (chDB)", process.line(), process.popen.pid)
