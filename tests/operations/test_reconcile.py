"""`postbacks reconcile` with running engines: what is missing is named, what is pending is no failure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from msgspec import json
from msgspec.structs import replace

from gateway.postback import RECEIPT, SENT, encode, format_time, key_of
from gateway.rejected import REJECTED, Rejected
from gateway.submission import SUBMISSIONS
from operations.reconcile.messages import PARTITION
from sinks.tables import TABLE_OF
from streams.auto_response import AUTO_RESPONSES, encode_auto_response
from streams.facts import MAX_FACTS_PER_KIND
from streams.merge import merge, state_of
from streams.message import MESSAGES, encode_message
from tests.support.auto_responses import auto_response
from tests.support.kafka import own_kafka
from tests.support.pipeline import Pipeline, create_pipeline
from tests.support.postbacks import MESSAGE_ID, at, receipt, sent
from tests.support.process import run_module
from tests.support.sinks import execute, produce_values, rows, run_worker
from tests.support.submissions import submission
from tests.support.wait import eventually
from tests.support.workload import generate_postbacks

MESSAGE_COUNT = 100


@pytest_asyncio.fixture
async def pipeline(fresh_kafka: str, prepared_database: str, tmp_path: Path) -> Pipeline:
    return await create_pipeline(fresh_kafka, prepared_database, tmp_path)


async def reconcile(pipeline: Pipeline, *options: str) -> tuple[int, Any]:
    """The exit status, and the JSON report."""
    done = await pipeline.command("reconcile", "--json", *options)
    assert not done.stderr, done.stderr
    return done.returncode, json.decode(done.stdout)


async def reconcile_text(pipeline: Pipeline) -> str:
    """The report as text."""
    return (await pipeline.command("reconcile")).stdout


def delete(pipeline: Pipeline, table: str, condition: str) -> None:
    """Delete rows, as a failure would."""
    execute(pipeline.clickhouse, f"ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 1")


def missing_ranges(report: Any) -> Iterator[tuple[str, int, list[list[int]]]]:
    """The partitions with missing rows, and their ranges."""
    for partition in report["partitions"]:
        if partition["missing"]:
            yield partition["topic"], partition["partition"], partition["missing_ranges"]


async def test_drained_pipeline_is_complete(pipeline: Pipeline) -> None:
    given = generate_postbacks(MESSAGE_COUNT, seed=1)
    await pipeline.streams.produce(given)
    await produce_values(
        pipeline.kafka, REJECTED, encode(Rejected(rejection_id="1", reason="no_type", received_at=at(0)))
    )
    await pipeline.run()
    status, report = await reconcile(pipeline)
    assert (status, report["complete"], report["missing"], report["pending"]) == (0, True, 0, 0)
    assert sum(p["stored"] for p in report["partitions"] if p["topic"] != REJECTED) == len(given)
    assert sum(p["stored"] for p in report["partitions"] if p["topic"] == REJECTED) == 1
    assert report["events"]["checked"] == len(given)
    assert report["keys"]["checked"] == len(await pipeline.streams.messages())
    assert report["rejected"] == [{"stage": "gateway", "reason": "no_type", "count": 1}]
    text = await reconcile_text(pipeline)
    assert "Complete since" in text
    assert "nothing missing" in text


async def test_empty_pipeline_is_complete(pipeline: Pipeline) -> None:
    status, report = await reconcile(pipeline)
    assert (status, report["missing"], report["pending"]) == (0, 0, 0)


async def test_missing_rows_are_named_by_offset(pipeline: Pipeline) -> None:
    await produce_values(pipeline.kafka, SENT, *(encode(sent(f"s{n}", n)) for n in range(10)), partition=2)
    await pipeline.store()
    delete(pipeline, "postbacks", "offset IN (0, 4, 5, 9)")
    status, report = await reconcile(pipeline)
    assert status == 1
    assert list(missing_ranges(report)) == [(SENT, 2, [[0, 0], [4, 5], [9, 9]])]
    assert report["missing"] == 4
    text = await reconcile_text(pipeline)
    assert "postbacks.sent/2 offsets 4 to 5" in text
    assert "Not complete" in text


@pytest.mark.parametrize(
    ("topic", "values"),
    [
        (SUBMISSIONS, [encode(submission(f"u{n}", n)) for n in range(6)]),
        (AUTO_RESPONSES, [encode_auto_response(auto_response(f"a{n}", n)) for n in range(6)]),
    ],
    ids=["submissions", "auto_responses"],
)
async def test_other_missing_rows_are_named_too(pipeline: Pipeline, topic: str, values: list[bytes]) -> None:
    await produce_values(pipeline.kafka, topic, *values, partition=2)
    await pipeline.store()
    assert (await reconcile(pipeline))[0] == 0
    delete(pipeline, TABLE_OF[topic].name, "offset IN (1, 2)")
    status, report = await reconcile(pipeline)
    assert (status, list(missing_ranges(report))) == (1, [(topic, 2, [[1, 2]])])


async def test_uncommitted_records_are_pending_and_no_failure(pipeline: Pipeline) -> None:
    await produce_values(pipeline.kafka, SENT, *(encode(sent(f"s{n}", n)) for n in range(10)))
    await pipeline.store()
    await produce_values(pipeline.kafka, SENT, *(encode(sent(f"t{n}", n)) for n in range(200)))
    await produce_values(pipeline.kafka, RECEIPT, encode(receipt()), partition=3)
    status, report = await reconcile(pipeline)
    assert (status, report["missing"]) == (0, 0)
    assert sum(p["pending"] for p in report["partitions"]) == 201
    assert report["events"]["pending"] == 211, "streams never ran"
    assert "; 412 pending" in await reconcile_text(pipeline)


async def test_row_that_clickhouse_refused_is_not_missing(pipeline: Pipeline) -> None:
    await produce_values(pipeline.kafka, SENT, encode(sent()), b'{"no": "postback"}', encode(sent("s2")))
    await pipeline.store()
    status, report = await reconcile(pipeline)
    assert (status, report["missing"]) == (0, 0)
    assert [(p["stored"], p["refused"]) for p in report["partitions"] if p["stored"]] == [(3, 1)]
    assert report["rejected"] == [{"stage": "sinks", "reason": "VIOLATED_CONSTRAINT", "count": 1}]


async def test_redelivered_rows_are_repeated_and_others_duplicates(pipeline: Pipeline) -> None:
    await produce_values(pipeline.kafka, SENT, *(encode(sent(f"s{n}", n)) for n in range(5)))
    await pipeline.store()
    execute(pipeline.clickhouse, "SYSTEM STOP MERGES postbacks")
    execute(pipeline.clickhouse, "INSERT INTO postbacks SELECT * FROM postbacks WHERE offset < 2")
    status, report = await reconcile(pipeline)
    assert (status, report["duplicates"]) == (0, 0)
    assert sum(p["repeated"] for p in report["partitions"]) == 2
    execute(
        pipeline.clickhouse,
        "INSERT INTO postbacks SELECT * REPLACE ('other' AS event_id) FROM postbacks FINAL WHERE offset = 3",
    )
    status, report = await reconcile(pipeline)
    assert (status, report["duplicates"]) == (1, 1)


async def test_event_in_no_message_is_named(pipeline: Pipeline) -> None:
    given = generate_postbacks(MESSAGE_COUNT, seed=2)
    await pipeline.streams.produce(given)
    await pipeline.run()
    lost = given[7]
    delete(pipeline, "message_states", f"message_id = '{lost.message_id}'")
    others = encode_message(state_of(replace(lost, event_id="another")))
    await pipeline.streams.produce_raw(MESSAGES, [(key_of(lost.account, lost.message_id), others)])
    await pipeline.store()
    status, report = await reconcile(pipeline)
    assert status == 1
    assert lost.event_id in {event["event_id"] for event in report["events"]["named"]}
    assert {event["message_id"] for event in report["events"]["named"]} == {lost.message_id}
    assert (
        report["missing"]
        == report["events"]["missing"]
        == len({postback.event_id for postback in given if postback.message_id == lost.message_id})
    )
    assert f"{lost.event_id} of message {lost.message_id} of acme" in await reconcile_text(pipeline)


async def test_submission_in_no_message_is_named(pipeline: Pipeline) -> None:
    about_none = submission("u3", 3, error=3, message_id=None)
    given = [submission("u1", 1), submission("u2", 2, error=3), submission("u2", 4, error=3), about_none]
    await pipeline.streams.produce([sent(), *given])
    await pipeline.run()
    status, report = await reconcile(pipeline)
    assert (status, report["events"]["checked"]) == (0, 4), "one is about no message"
    delete(pipeline, "message_states", "1")
    without = encode_message(merge(state_of(sent()), given[0]))
    await pipeline.streams.produce_raw(MESSAGES, [(key_of("acme", MESSAGE_ID), without)])
    await pipeline.store()
    status, report = await reconcile(pipeline)
    assert (status, report["missing"], report["events"]["missing"]) == (1, 1, 1)
    (lost,) = report["events"]["named"]
    assert (lost["type"], lost["event_id"], lost["message_id"]) == ("submission", "u2", MESSAGE_ID)
    assert (lost["topic"], lost["received_at"]) == (SUBMISSIONS, at(2))
    assert f"submission u2 of message {MESSAGE_ID} of acme" in await reconcile_text(pipeline)


async def test_message_missing_in_clickhouse_is_named_by_key(pipeline: Pipeline) -> None:
    given = generate_postbacks(MESSAGE_COUNT, seed=3)
    await pipeline.streams.produce(given)
    await pipeline.run()
    delete(pipeline, "message_states", f"message_id = '{given[0].message_id}'")
    status, report = await reconcile(pipeline)
    assert (status, report["keys"]["missing"]) == (1, 1)
    assert report["keys"]["named"] == [f"acme/{given[0].message_id}"]


async def test_facts_beyond_a_messages_cap_are_not_missing(pipeline: Pipeline) -> None:
    await pipeline.streams.produce(
        [receipt(f"{n:03}", n, code="003") for n in range(MAX_FACTS_PER_KIND + 30)]
    )
    await pipeline.run()
    assert (await reconcile(pipeline))[0] == 0
    # A fact that belongs before the cap is missing, although the list is full.
    (state,) = rows(pipeline.clickhouse, "SELECT * FROM messages")
    assert len(state["receipts"]) == MAX_FACTS_PER_KIND
    delete(pipeline, "message_states", "1")
    full = state_of(receipt("999", 999))
    full.receipts = [replace(full.receipts[0], event_id=f"{n:03}", received_at=at(n)) for n in range(1, 101)]
    await pipeline.streams.produce_raw(MESSAGES, [(key_of("acme", MESSAGE_ID), encode_message(full))])
    await pipeline.store()
    status, report = await reconcile(pipeline)
    assert (status, [event["event_id"] for event in report["events"]["named"]]) == (1, ["000"])


async def test_record_that_streams_rejected_is_not_missing(pipeline: Pipeline) -> None:
    value = encode(sent())
    await pipeline.streams.produce_raw(SENT, [(b"another/key", value)])
    await pipeline.run()
    status, report = await reconcile(pipeline)
    assert (status, report["missing"], report["events"]["checked"]) == (0, 0, 1)
    assert report["rejected"] == [{"stage": "streams", "reason": "foreign_key", "count": 1}]


async def test_since_excludes_earlier_records(pipeline: Pipeline) -> None:
    old = [sent(f"old{n}", received_at="2026-01-01T00:00:00.000Z") for n in range(3)]
    await produce_values(pipeline.kafka, SENT, *map(encode, old))
    await pipeline.store()
    delete(pipeline, "postbacks", "offset = 1")
    assert (await reconcile(pipeline))[0] == 1
    since = format_time(datetime.now(UTC))
    new = replace(old[0], event_id="new", received_at=format_time(datetime.now(UTC)))
    await produce_values(pipeline.kafka, SENT, encode(new))
    # A state written long after the last event, as when a message becomes overdue.
    state = encode_message(state_of(old[0]))
    await pipeline.streams.produce_raw(MESSAGES, [(key_of("acme", MESSAGE_ID), state)])
    await pipeline.store()
    status, report = await reconcile(pipeline, "--since", since)
    assert status == 0
    assert [(p["start"], p["stored"]) for p in report["partitions"] if p["stored"]] == [(3, 1)]
    assert (report["keys"]["checked"], report["keys"]["missing"]) == (1, 0)


async def test_former_cluster_misses_only_offsets_between_rows(
    pipeline: Pipeline, prepared_database: str, tmp_path: Path
) -> None:
    await produce_values(pipeline.kafka, SENT, *(encode(sent(f"s{n}", n)) for n in range(10)))
    await pipeline.store()
    async with own_kafka(tmp_path / "kafka") as new:  # replaces the first cluster
        pipeline = await create_pipeline(new.address, prepared_database, tmp_path / "new")
        status, report = await reconcile(pipeline)
        assert sum(p["missing"] for p in report["partitions"]) == 0
        delete(pipeline, "postbacks", "offset IN (0, 5)")
        _, report = await reconcile(pipeline)
        assert list(missing_ranges(report)) == [(SENT, 0, [[5, 5]])]
        assert report["events"]["missing"] == 8, "streams never ran on that cluster"
        assert status == 1


async def test_offsets_of_transactions_are_not_missing(pipeline: Pipeline) -> None:
    async def write(transaction: str, commit: bool, *numbers: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=transaction)
        async with producer:
            await producer.begin_transaction()
            for n in numbers:
                await producer.send_and_wait(SENT, encode(sent(f"s{n}", n)), key=b"k", partition=0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())

    await write("a", True, 0, 1)  # and a marker at offset 2
    await write("b", False, 2, 3)  # at 3, 4, and its marker at 5
    await write("a", True, 4)  # at 6, marked at 7
    async with run_worker(pipeline.kafka, pipeline.clickhouse):
        last = "SELECT offset FROM postbacks WHERE offset = 6"
        await eventually(lambda: bool(rows(pipeline.clickhouse, last)), "the last record stored")
    status, report = await reconcile(pipeline)
    assert (status, report["missing"]) == (0, 0)
    assert sum(p["pending"] for p in report["partitions"]) == 0, "a marker at the end is not pending"
    delete(pipeline, "postbacks", "offset IN (3, 4)")  # as if the sink had read only committed records
    assert (await reconcile(pipeline))[0] == 0
    delete(pipeline, "postbacks", "offset = 1")
    status, report = await reconcile(pipeline)
    assert (status, list(missing_ranges(report))) == (1, [(SENT, 0, [[1, 1]])])


def test_clickhouse_computes_the_partition_as_kafka_does(database: str) -> None:
    computed = rows(
        database,
        "SELECT concat('acme/', toString(generateUUIDv4(number))) AS key, "
        f"({PARTITION.format(of=7)})::UInt32 AS partition, CRC32(key)::UInt32 AS sum FROM numbers(500)",
    )
    assert {row["partition"] for row in computed} == set(range(7))
    for row in computed:
        key = row["key"].encode()
        assert (row["partition"], row["sum"]) == ((murmur2(key) & 0x7FFFFFFF) % 7, crc32(key))


def test_unreachable_kafka_is_an_error(database: str) -> None:
    done = run_module("cli", "reconcile", kafka="127.0.0.1:1", clickhouse=database)
    assert done.returncode == 1
    assert "does not answer" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_invalid_time_is_refused() -> None:
    done = run_module("cli", "reconcile", "--since", "yesterday")
    assert done.returncode == 2
    assert "'yesterday' is not a time" in done.stderr
