"""While ClickHouse cannot take rows the sink waits, stays in its group, and goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec import json

from runtime.clickhouse.client import Unavailable
from streams.message import MESSAGES, Message, encode_message
from tests.support.sinks import (
    EXACT,
    PARTITIONS,
    all_stored,
    as_messages,
    exactly,
    execute,
    make_topics,
    members,
    open_clickhouse,
    open_sink,
    rows,
    send,
    until,
)
from tests.support.workload import fold, postbacks, produce


async def test_clickhouse_killed_in_mid_load_and_back_later(fresh_kafka: str, tmp_path: Path) -> None:
    await make_topics(fresh_kafka)
    load = postbacks(4_000, seed=5)
    states = [json.decode(state, type=Message) for state in fold(load).values()]
    producing = asyncio.create_task(produce(fresh_kafka, load, PARTITIONS, rate=4_000))
    with ExitStack() as engines:
        clickhouse = engines.enter_context(open_clickhouse(tmp_path))
        url = clickhouse.line()
        port = urlsplit(url).port or 0
        sink = engines.enter_context(open_sink(fresh_kafka, f"{url}/stored", batch_rows=500))
        await until(lambda: sink.metric("rows_total") > 1_000, "rows stored")
        clickhouse.kill()
        await send(fresh_kafka, MESSAGES, *map(encode_message, states))
        await until(lambda: "clickhouse: " in sink.ready(), "it says what it waits for")
        await producing
        engines.enter_context(open_clickhouse(tmp_path, port)).line()
        await all_stored(fresh_kafka)
        assert sink.ready() == "ready\n"
        assert rows(f"{url}/stored", EXACT) == [exactly(load)]
        assert as_messages(f"{url}/stored") == {state.message_id: state for state in states}


async def test_a_sink_starts_while_clickhouse_and_the_topics_are_not_there_yet(
    fresh_kafka: str, tmp_path: Path
) -> None:
    with open_clickhouse(tmp_path) as once:
        url = once.line()
    with open_sink(fresh_kafka, f"{url}/later") as sink:
        await until(lambda: "clickhouse: " in sink.ready(), "it waits for ClickHouse")
        with open_clickhouse(tmp_path, urlsplit(url).port or 0) as clickhouse:
            clickhouse.line()
            await until(lambda: "has no topic messages" in sink.ready(), "it waits for topics")
            await make_topics(fresh_kafka)
            await until(lambda: sink.ready() == "ready\n", "it works")


async def test_an_insert_that_hangs_is_tried_again_and_the_member_stays(
    fresh_kafka: str, tmp_path: Path
) -> None:
    await make_topics(fresh_kafka)
    with open_clickhouse(tmp_path) as clickhouse:
        url = f"{clickhouse.line()}/stored"
        with open_sink(fresh_kafka, url, stall_after=4) as sink:
            await until(lambda: sink.ready() == "ready\n", "it works")
            member = await members(fresh_kafka)
            os.kill(clickhouse.popen.pid, signal.SIGSTOP)
            load = postbacks(200, seed=6)
            await produce(fresh_kafka, load, PARTITIONS)
            await until(lambda: sink.metric("retries_total") >= 6, "it tries again")
            assert await members(fresh_kafka) == member
            os.kill(clickhouse.popen.pid, signal.SIGCONT)
            await all_stored(fresh_kafka)
            assert sink.process.running
            assert rows(url, EXACT) == [exactly(load)]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("table_readonly", "1", "TABLE_IS_PERMANENTLY_READ_ONLY"),
        ("parts_to_throw_insert", "1", "TOO_MANY_PARTS"),
        ("min_free_disk_bytes_to_perform_insert", "1000000000000000000", "NOT_ENOUGH_SPACE"),
    ],
)
async def test_a_table_that_takes_nothing_now_is_waited_for(
    fresh_kafka: str, database: str, setting: str, value: str, words: str
) -> None:
    await make_topics(fresh_kafka)
    load = postbacks(200, seed=7)
    with open_sink(fresh_kafka, database, stall_after=2) as sink:
        await produce(fresh_kafka, load[:1], PARTITIONS)
        await all_stored(fresh_kafka)
        execute(database, f"ALTER TABLE postbacks MODIFY SETTING {setting} = {value}")
        await produce(fresh_kafka, load[1:], PARTITIONS)
        await until(lambda: words in sink.ready(), "it says what it waits for")
        tries = sink.metric("retries_total")
        await until(lambda: sink.metric("retries_total") > tries + 8, "it goes on trying")
        execute(database, f"ALTER TABLE postbacks RESET SETTING {setting}")
        await all_stored(fresh_kafka)
        assert sink.process.running
    assert rows(database, EXACT) == [exactly(load)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000",
        "SELECT sleepEachRow(1) FROM numbers(3) SETTINGS max_execution_time = 1, max_block_size = 1",
        "SELECT nothing_like_that",
    ],
)
def test_whatever_is_not_surely_a_rows_fault_is_tried_again(database: str, query: str) -> None:
    with pytest.raises(Unavailable):
        execute(database, query)
