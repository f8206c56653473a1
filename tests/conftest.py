"""Fixtures for the engines that tests run against.

| fixture | value |
|---|---|
| `apache_kafka` | an Apache Kafka cluster of one node, started once per run (`tests/support/kafka.py`) |
| `kafka` | its address; topics and groups get names from `unique` |
| `fresh_kafka` | the same without any topics and groups, for tests that need the names of the contract |
| `prepared_kafka` | the same with all topics of the pipeline |
| `clickhouse` | `http://default:@host:port` of an embedded ClickHouse, started once per run |
| `database` | the same with `/name`, a database created for the test and dropped after it |
| `prepared_database` | the same with the schema, and no rows from other tests |
| `client` | a client of `prepared_database`, as our processes open it |
| `unique` | a function: `unique("orders")` returns a unique name |

The report of a failure ends with the last lines of each process's log: every `*.log` below the test's
`tmp_path`, and Kafka's if the test uses it.
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
from hypothesis import HealthCheck, settings
from pydantic import SecretStr

from runtime.clickhouse.client import open_client
from tests.support.engines import APACHE, CHDB, Engines, set_current_test
from tests.support.kafka import ApacheKafka, create_topics, wipe
from tests.support.logs import log_tails
from tests.support.prepared_database import PreparedDatabase
from tests.support.process import running

# Examples take as long as the machine is busy, and may share a fixture: each cleans up what it needs.
settings.register_profile(
    "postbacks",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("postbacks")

ENGINES = pytest.StashKey[Engines]()
#: The folder of the run's Apache Kafka, once it is started.
KAFKA_FOLDER = pytest.StashKey[Path]()
ENGINE_FIXTURES = {"apache_kafka", "clickhouse"}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ENGINES] = Engines()
    # The default handler would exit without stopping the processes of fixtures.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("stopped by SIGTERM", 143))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the engines of an xdist worker to the controller."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["engines"] = session.config.stash[ENGINES].as_data()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that use the engines of the run; others that start an engine are marked one by one.

    Group the tests that share a fixture with others of their file: they run in one process of pytest, so that
    it is set up once, and never twice at a time.
    """
    if ENGINE_FIXTURES.intersection(getattr(item, "fixturenames", ())):
        item.add_marker("engine")
    if isinstance(item, pytest.Function) and any(
        definitions[-1].scope == "module" for definitions in item._fixtureinfo.name2fixturedefs.values()
    ):
        item.add_marker(pytest.mark.xdist_group(item.path.name))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests without an engine last: they are short, so all workers of xdist end at the same time."""
    items.sort(key=lambda item: item.get_closest_marker("engine") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    set_current_test(item)
    try:
        return (yield)
    finally:
        set_current_test(None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs to the report of a failure, whose sections also reach the controller of xdist."""
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
    output = getattr(node, "workeroutput", {})  # missing if the worker process was killed
    node.config.stash[ENGINES].merge(output.get("engines", ([], {})))


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
        asyncio.run(wipe(cluster.address))  # waits until groups are loaded
        yield cluster
    finally:
        cluster.kill()


@pytest.fixture(scope="session")
def kafka(apache_kafka: ApacheKafka) -> str:
    return apache_kafka.address


@pytest_asyncio.fixture
async def fresh_kafka(kafka: str) -> str:
    await wipe(kafka)
    return kafka


@pytest_asyncio.fixture
async def prepared_kafka(fresh_kafka: str) -> str:
    await create_topics(fresh_kafka)
    return fresh_kafka


@pytest.fixture(scope="session")
def clickhouse(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    engines.used.add(CHDB)
    data = tmp_path_factory.mktemp("embedded")
    with running("embedded", "clickhouse", "--port", "0", "--data", data) as process:
        yield process.read_line()


@pytest.fixture
def database(clickhouse: str, unique: Callable[[str], str]) -> Iterator[str]:
    name = unique("test").replace("-", "_")
    with closing(get_client(dsn=clickhouse)) as client:
        client.command(f"CREATE DATABASE {name}")
        yield f"{clickhouse}/{name}"
        client.command(f"DROP DATABASE IF EXISTS {name} SYNC")


@pytest.fixture(scope="session")
def shared_database(clickhouse: str) -> Iterator[PreparedDatabase]:
    database = PreparedDatabase(clickhouse)
    yield database
    database.drop()


@pytest.fixture
def prepared_database(shared_database: PreparedDatabase) -> str:
    return shared_database.prepare()


@pytest.fixture
def client(prepared_database: str) -> Iterator[Any]:
    with open_client(SecretStr(prepared_database)) as client:
        yield client


@pytest.fixture
def unique() -> Callable[[str], str]:
    return lambda prefix: f"{prefix}-{uuid.uuid4().hex[:12]}"
