"""The pipeline on the servers that people run: Apache Kafka and ClickHouse in containers.

The sinks' and the schema's tests are those of the embedded engines, run once more.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cli.up.welcome import SAMPLE, SAMPLE_ID
from tests.support.containers import clickhouse_container, kafka_container, why_not
from tests.support.engines import CLICKHOUSE_CONTAINER, KAFKA_CONTAINER, Engines
from tests.support.kafka_reset import wipe
from tests.support.stack import stack


@pytest.fixture(scope="module")
def kafka_address(engines: Engines) -> Iterator[str]:
    if reason := why_not("kafka"):
        engines.skip(KAFKA_CONTAINER, reason)
    engines.used.add(KAFKA_CONTAINER)
    with kafka_container() as address:
        yield address


@pytest.fixture(scope="module")
def clickhouse(engines: Engines) -> Iterator[str]:
    if reason := why_not("clickhouse"):
        engines.skip(CLICKHOUSE_CONTAINER, reason)
    engines.used.add(CLICKHOUSE_CONTAINER)
    with clickhouse_container() as url:
        yield url


@pytest_asyncio.fixture
async def fresh_kafka(kafka_address: str, clickhouse: str) -> AsyncIterator[str]:
    await wipe(kafka_address)
    yield kafka_address


def test_what_was_posted_is_in_sql_exactly(fresh_kafka: str, database: str, tmp_path: Path) -> None:
    settings = {"POSTBACKS_KAFKA": fresh_kafka, "POSTBACKS_CLICKHOUSE": database}
    with stack(tmp_path, settings=settings) as up:
        assert up.post(SAMPLE) == 200
        up.wait_for(f"SELECT status FROM messages WHERE message_id = '{SAMPLE_ID}'", "sent")
        simulated = up.run("simulate", "--url", up.url, "--count", "2000", "--rate", "400", "--json")
        report = json.loads(simulated.stdout)
        assert report["unsure"] == 0
        up.wait_for("SELECT uniqExact(event_id) FROM postbacks", str(report["events"] + 1))
        statuses = report["statuses"] | {"sent": report["statuses"].get("sent", 0) + 1}
        by_status = "SELECT status, count() FROM messages GROUP BY status ORDER BY status"
        up.wait_for(by_status, "\n".join(f"{status}\t{n}" for status, n in sorted(statuses.items())))
