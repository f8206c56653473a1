"""Sinks on running engines: whatever happens to them, each record is stored, and counted once."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack

from pydantic import SecretStr

from gateway.postback import RECEIPT, REJECTED, SENT, AnyPostback, Rejected, encode
from sinks.migrate import migrate
from streams.message import MESSAGES, encode_message, state_of
from tests.support.postbacks import MESSAGE, at, receipt, sent
from tests.support.sinks import (
    EXACT,
    PARTITIONS,
    all_stored,
    as_messages,
    exactly,
    execute,
    make_topics,
    open_sink,
    rows,
    send,
    until,
    worker_of,
)
from tests.support.workload import postbacks, produce


async def test_each_topic_goes_into_its_table(fresh_kafka: str, database: str) -> None:
    await make_topics(fresh_kafka)
    state = state_of(sent())
    rejected = Rejected(rejection_id="1" * 32, reason="no_type", received_at=at(5), body="a=b", method="POST")
    await send(fresh_kafka, SENT, encode(sent(body="SMSSent=1", extra={"New": "1"})), encode(sent(second=9)))
    await send(fresh_kafka, RECEIPT, encode(receipt(code="000", backup_message_id=MESSAGE)))
    await send(fresh_kafka, MESSAGES, encode_message(state), None, encode_message(state))
    await send(fresh_kafka, REJECTED, encode(rejected), encode(rejected))
    with open_sink(fresh_kafka, database) as sink:
        await all_stored(fresh_kafka)
        assert sink.ready() == "ready\n"
        assert sink.process.stop() == 0
    events = rows(database, "SELECT type, received_at, body, extra, sent, times FROM events ORDER BY type")
    assert events == [
        {
            "type": "sent",
            "received_at": at(0),
            "body": "SMSSent=1",
            "extra": {"New": "1"},
            "sent": True,
            "times": 2,
        },
        {"type": "receipt", "received_at": at(0), "body": "", "extra": {}, "sent": None, "times": 1},
    ]
    assert as_messages(database) == {MESSAGE: state}
    (kept,) = rows(database, "SELECT * FROM rejected FINAL")
    assert (kept["rejection_id"], kept["stage"], kept["reason"]) == ("1" * 32, "gateway", "no_type")
    assert (kept["method"], kept["partition"], kept["offset"]) == ("POST", -1, -1)
    assert sorted(record["offset"] for record in kept["records"]) == [0, 1]


async def test_a_sink_killed_in_mid_load_neither_loses_nor_doubles(fresh_kafka: str, database: str) -> None:
    await make_topics(fresh_kafka)
    load = postbacks(4_000, seed=1)
    producing = asyncio.create_task(produce(fresh_kafka, load, PARTITIONS, rate=4_000))
    for _ in range(3):
        with open_sink(fresh_kafka, database, batch_rows=500) as sink:
            await until(lambda sink=sink: sink.metric("rows_total") > 300, "rows stored")  # type: ignore[misc]
            sink.process.kill()
    await producing
    with open_sink(fresh_kafka, database):
        await all_stored(fresh_kafka)
    assert rows(database, EXACT) == [exactly(load)]


async def test_the_same_records_in_other_batches_collapse_to_one_row_each(
    fresh_kafka: str, database: str
) -> None:
    await make_topics(fresh_kafka)
    load = postbacks(300, seed=2)
    await produce(fresh_kafka, load, PARTITIONS)
    migrate(SecretStr(database))
    execute(database, "SYSTEM STOP MERGES postbacks")
    for size in (7, 100, 50_000):
        group = f"by-{size}"
        async with worker_of(fresh_kafka, database, group, batch_rows=size):
            await all_stored(fresh_kafka, group)
    stored = rows(database, "SELECT count() AS rows FROM postbacks")
    assert stored[0]["rows"] > len(load)
    assert rows(database, EXACT) == [exactly(load)]


async def test_partitions_move_between_sinks_in_mid_load(fresh_kafka: str, database: str) -> None:
    await make_topics(fresh_kafka)
    moved = asyncio.Event()
    feeding = asyncio.create_task(feed(fresh_kafka, moved))
    with ExitStack() as sinks:
        first = sinks.enter_context(open_sink(fresh_kafka, database))
        await until(lambda: first.metric("rows_total") > 0, "the first one stores")
        second = sinks.enter_context(open_sink(fresh_kafka, database))
        await until(lambda: second.metric("rows_total") > 0, "the second one stores")
        assert first.process.stop() == 0
        third = sinks.enter_context(open_sink(fresh_kafka, database))
        await until(lambda: third.metric("rows_total") > 0, "the third one stores")
        second.process.kill()
        moved.set()
        load = await feeding
        await all_stored(fresh_kafka)
        assert third.process.stop() == 0
    assert rows(database, EXACT) == [exactly(load)]


async def feed(kafka: str, enough: asyncio.Event) -> list[AnyPostback]:
    """A thousand postbacks a second or so, until there are enough."""
    load: list[AnyPostback] = []
    while not enough.is_set():
        some = postbacks(400, seed=len(load))
        await produce(kafka, some, PARTITIONS, rate=4_000)
        load += some
    return load


async def test_a_frozen_sink_does_no_harm_when_it_thaws(fresh_kafka: str, database: str) -> None:
    await make_topics(fresh_kafka)
    load = postbacks(3_000, seed=4)
    producing = asyncio.create_task(produce(fresh_kafka, load, PARTITIONS, rate=3_000))
    with open_sink(fresh_kafka, database) as frozen, open_sink(fresh_kafka, database):
        await until(lambda: frozen.metric("rows_total") > 0, "it stores")
        os.kill(frozen.process.popen.pid, signal.SIGSTOP)
        await producing
        await all_stored(fresh_kafka)  # the other one has all partitions by then
        os.kill(frozen.process.popen.pid, signal.SIGCONT)
        await until(lambda: frozen.ready() == "ready\n", "it has partitions again")
        assert frozen.process.stop() == 0
    assert rows(database, EXACT) == [exactly(load)]
