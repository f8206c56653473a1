"""The engines that tests run against, as fixtures.

| fixture | what |
|---|---|
| `apache_kafka` | an Apache Kafka cluster of one node, one for the run (`tests/support/kafka.py`) |
| `kafka` | its address; topics and groups take names from `unique` |
| `fresh_kafka` | the same, but without any topic or group: for tests that need the contract's own names |
| `clickhouse` | `http://default:@host:port`, an embedded ClickHouse, one for the run |
| `database` | the same with `/name`, a database of its own for the test, dropped after it |
| `unique` | `unique("orders")` is a name that is not in use |

When a test fails, the report shows the last lines of each process's log: every `*.log` below its `tmp_path`,
and the one of Apache Kafka if the test ran against it.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from clickhouse_connect import get_client

from tests.support.engines import APACHE, CHDB, Engines
from tests.support.kafka import ApacheKafka
from tests.support.kafka_reset import wipe
from tests.support.logs import log_tails
from tests.support.process import running

ENGINES = pytest.StashKey[Engines]()
#: The folder of the run's Apache Kafka, once it was started.
KAFKA_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ENGINES] = Engines()
    # Without this, SIGTERM ends the run and leaves the fixtures' processes behind.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", 143))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes of a run hands in what it knows."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["engines"] = session.config.stash[ENGINES].as_data()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs to the report of a failure. Sections of a report also reach the controller of xdist."""
    report = yield
    if report.failed:
        for folder in _log_folders(item):
            report.sections += [(f"Last lines of {name}", text) for name, text in log_tails(folder)]
    return report


def _log_folders(item: pytest.Item) -> Iterator[Path]:
    values: dict[str, Any] = getattr(item, "funcargs", {})
    if isinstance(folder := values.get("tmp_path"), Path):
        yield folder
    fixtures: list[str] = getattr(item, "fixturenames", [])
    if KAFKA_FOLDER in item.config.stash and "apache_kafka" in fixtures:
        yield item.config.stash[KAFKA_FOLDER]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    output = getattr(node, "workeroutput", {})  # none of a worker process that was killed
    node.config.stash[ENGINES].add(output.get("engines", ([], {})))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash[ENGINES].lines():
        terminalreporter.section("engines")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def engines(request: pytest.FixtureRequest) -> Engines:
    return request.config.stash[ENGINES]


@pytest.fixture(scope="session")
def apache_kafka(
    engines: Engines, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[ApacheKafka]:
    engines.used.add(APACHE)
    folder = pytestconfig.stash[KAFKA_FOLDER] = tmp_path_factory.mktemp("kafka")
    cluster = ApacheKafka(folder)
    try:
        cluster.start()
        asyncio.run(wipe(cluster.address))  # waits until it can take groups
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="session")
def kafka(apache_kafka: ApacheKafka) -> str:
    return apache_kafka.address


@pytest_asyncio.fixture
async def fresh_kafka(kafka: str) -> str:
    await wipe(kafka)
    return kafka


@pytest.fixture(scope="session")
def clickhouse(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    engines.used.add(CHDB)
    data = tmp_path_factory.mktemp("embedded")
    with running("embedded", "clickhouse", "--port", "0", "--data", data) as process:
        yield process.line()


@pytest.fixture
def database(clickhouse: str, unique: Callable[[str], str]) -> Iterator[str]:
    name = unique("test").replace("-", "_")
    with closing(get_client(dsn=clickhouse)) as client:
        client.command(f"CREATE DATABASE {name}")
        yield f"{clickhouse}/{name}"
        client.command(f"DROP DATABASE IF EXISTS {name} SYNC")


@pytest.fixture
def unique() -> Callable[[str], str]:
    return lambda prefix: f"{prefix}-{uuid.uuid4().hex[:12]}"
