"""The pipeline on Apache Kafka and ClickHouse servers in containers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cli.up.welcome import SAMPLE, SAMPLE_ID
from tests.support.containers import clickhouse_container, kafka_container, unavailable_reason
from tests.support.engines import CLICKHOUSE_CONTAINER, KAFKA_CONTAINER, Engines
from tests.support.kafka import wipe
from tests.support.stack import stack


@pytest.fixture(scope="module")
def kafka_address(engines: Engines) -> Iterator[str]:
    if reason := unavailable_reason("kafka"):
        engines.skip(KAFKA_CONTAINER, reason)
    engines.used.add(KAFKA_CONTAINER)
    with kafka_container() as address:
        yield address


@pytest.fixture(scope="module")
def clickhouse(engines: Engines) -> Iterator[str]:
    if reason := unavailable_reason("clickhouse"):
        engines.skip(CLICKHOUSE_CONTAINER, reason)
    engines.used.add(CLICKHOUSE_CONTAINER)
    with clickhouse_container() as url:
        yield url


@pytest_asyncio.fixture
async def fresh_kafka(kafka_address: str, clickhouse: str) -> AsyncIterator[str]:
    await wipe(kafka_address)
    yield kafka_address


def test_everything_posted_is_in_sql_exactly_once(fresh_kafka: str, database: str, tmp_path: Path) -> None:
    settings = {"POSTBACKS_KAFKA": fresh_kafka, "POSTBACKS_CLICKHOUSE": database}
    with stack(tmp_path, settings=settings) as up:
        assert up.post(SAMPLE) == 200
        up.wait_for_result(f"SELECT status FROM messages WHERE message_id = '{SAMPLE_ID}'", "sent")
        simulated = up.run("simulate", "--url", up.url, "--count", "2000", "--rate", "400", "--json")
        report = json.loads(simulated.stdout)
        assert report["unsure"] == 0
        up.wait_for_result("SELECT uniqExact(event_id) FROM postbacks", str(report["events"] + 1))
        statuses = report["statuses"] | {"sent": report["statuses"].get("sent", 0) + 1}
        by_status = "SELECT status, count() FROM messages GROUP BY status ORDER BY status"
        up.wait_for_result(by_status, "\n".join(f"{status}\t{n}" for status, n in sorted(statuses.items())))
