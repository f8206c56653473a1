"""During an outage of ClickHouse the sink retries, stays in its group, and recovers by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec import json

from runtime.clickhouse.errors import ClickHouseUnavailable
from streams.message import MESSAGES, Message, encode_message
from tests.support.kafka import PARTITIONS, create_topics
from tests.support.sinks import (
    COUNTS,
    execute,
    expected_counts,
    members,
    open_clickhouse,
    open_sink,
    produce_values,
    rows,
    stored_messages,
    wait_committed,
)
from tests.support.wait import eventually
from tests.support.workload import fold, generate_postbacks, produce


async def test_nothing_is_lost_when_clickhouse_is_killed_under_load(
    prepared_kafka: str, tmp_path: Path
) -> None:
    load = generate_postbacks(4_000, seed=5)
    states = [json.decode(state, type=Message) for state in fold(load).values()]
    producing = asyncio.create_task(produce(prepared_kafka, load, PARTITIONS, rate=4_000))
    with ExitStack() as engines:
        clickhouse = engines.enter_context(open_clickhouse(tmp_path))
        url = clickhouse.read_line()
        port = urlsplit(url).port or 0
        sink = engines.enter_context(open_sink(prepared_kafka, f"{url}/stored", batch_rows=500))
        await sink.wait_for_metric("postbacks_sinks_rows_total", 1_001)
        clickhouse.kill()
        await produce_values(prepared_kafka, MESSAGES, *map(encode_message, states))
        await eventually(lambda: "clickhouse: " in sink.readyz(), "/readyz names the cause")
        await producing
        engines.enter_context(open_clickhouse(tmp_path, port)).read_line()
        await wait_committed(prepared_kafka)
        assert sink.readyz() == "ready\n"
        assert rows(f"{url}/stored", COUNTS) == [expected_counts(load)]
        assert stored_messages(f"{url}/stored") == {state.message_id: state for state in states}


async def test_sink_starts_before_clickhouse_and_topics(fresh_kafka: str, tmp_path: Path) -> None:
    with open_clickhouse(tmp_path) as once:
        url = once.read_line()
    with open_sink(fresh_kafka, f"{url}/later") as sink:
        await eventually(lambda: "clickhouse: " in sink.readyz(), "/readyz names ClickHouse")
        with open_clickhouse(tmp_path, urlsplit(url).port or 0) as clickhouse:
            clickhouse.read_line()
            await eventually(
                lambda: "has no topic auto_responses, contacts, messages" in sink.readyz(),
                "/readyz names the topics",
            )
            await create_topics(fresh_kafka)
            await sink.wait_ready()


async def test_hanging_insert_is_retried_and_the_member_stays(prepared_kafka: str, tmp_path: Path) -> None:
    with open_clickhouse(tmp_path) as clickhouse:
        url = f"{clickhouse.read_line()}/stored"
        with open_sink(prepared_kafka, url, stall_after=4) as sink:
            await sink.wait_ready()
            member = await members(prepared_kafka)
            os.kill(clickhouse.popen.pid, signal.SIGSTOP)
            load = generate_postbacks(200, seed=6)
            await produce(prepared_kafka, load, PARTITIONS)
            await sink.wait_for_metric("postbacks_sinks_retries_total", 6)
            assert await members(prepared_kafka) == member
            os.kill(clickhouse.popen.pid, signal.SIGCONT)
            await wait_committed(prepared_kafka)
            assert sink.process.running
            assert rows(url, COUNTS) == [expected_counts(load)]


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("table_readonly", "1", "TABLE_IS_PERMANENTLY_READ_ONLY"),
        ("parts_to_throw_insert", "1", "TOO_MANY_PARTS"),
        ("min_free_disk_bytes_to_perform_insert", "1000000000000000000", "NOT_ENOUGH_SPACE"),
    ],
)
async def test_insert_is_retried_while_the_table_is_unwritable(
    prepared_kafka: str, prepared_database: str, setting: str, value: str, error: str
) -> None:
    load = generate_postbacks(200, seed=7)
    with open_sink(prepared_kafka, prepared_database, stall_after=2) as sink:
        await produce(prepared_kafka, load[:1], PARTITIONS)
        await wait_committed(prepared_kafka)
        execute(prepared_database, f"ALTER TABLE postbacks MODIFY SETTING {setting} = {value}")
        await produce(prepared_kafka, load[1:], PARTITIONS)
        await eventually(lambda: error in sink.readyz(), "/readyz names the cause")
        retries = sink.metric("postbacks_sinks_retries_total")
        await sink.wait_for_metric("postbacks_sinks_retries_total", retries + 9)
        execute(prepared_database, f"ALTER TABLE postbacks RESET SETTING {setting}")
        await wait_committed(prepared_kafka)
        assert sink.process.running
    assert rows(prepared_database, COUNTS) == [expected_counts(load)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000",
        "SELECT sleepEachRow(1) FROM numbers(3) SETTINGS max_execution_time = 1, max_block_size = 1",
        "SELECT nothing_like_that",
    ],
)
def test_other_errors_count_as_unavailable(database: str, query: str) -> None:
    with pytest.raises(ClickHouseUnavailable):
        execute(database, query)
