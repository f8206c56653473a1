"""`postbacks reconcile` against running engines: what is missing is named, what is late is no failure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from msgspec import json
from msgspec.structs import replace
from pydantic import SecretStr

from gateway.postback import RECEIPT, REJECTED, SENT, Rejected, encode, format_time, key_of
from operations.reconcile.messages import PARTITION
from sinks.migrate import migrate
from streams.message import FACTS_OF_A_KIND, MESSAGES, encode_message, state_of
from tests.support.kafka import own_kafka
from tests.support.postbacks import MESSAGE, at, receipt, sent
from tests.support.sinks import all_stored, execute, rows, send, until, worker_of
from tests.support.stack import command
from tests.support.streams import Streams
from tests.support.workload import postbacks

MESSAGES_GIVEN = 100


class Pipeline(NamedTuple):
    """A Kafka with all topics, and a database with the schema."""

    streams: Streams
    clickhouse: str

    @property
    def kafka(self) -> str:
        return self.streams.kafka

    async def store(self) -> None:
        """Let a sink store what the topics hold."""
        async with worker_of(self.kafka, self.clickhouse):
            await all_stored(self.kafka)

    async def run(self) -> None:
        """Let all that the topics hold come to its end."""
        with self.streams.worker():
            await self.streams.merged()
        await self.store()

    async def reconcile(self, *options: str) -> tuple[int, Any]:
        """The exit status, and what it says in JSON."""
        done = await asyncio.to_thread(command, "reconcile", "--json", *options, settings=self.settings)
        assert not done.stderr, done.stderr
        return done.returncode, json.decode(done.stdout)

    async def in_words(self, *options: str) -> str:
        """What it tells people."""
        return (await asyncio.to_thread(command, "reconcile", *options, settings=self.settings)).stdout

    @property
    def settings(self) -> dict[str, str]:
        return {"POSTBACKS_KAFKA": self.kafka, "POSTBACKS_CLICKHOUSE": self.clickhouse}

    def forget(self, table: str, condition: str) -> None:
        """Delete rows by hand."""
        execute(self.clickhouse, f"ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 1")


@pytest_asyncio.fixture
async def pipeline(fresh_kafka: str, database: str, tmp_path: Path) -> Pipeline:
    return await _pipeline(fresh_kafka, database, tmp_path)


async def _pipeline(kafka: str, database: str, folder: Path) -> Pipeline:
    made = Pipeline(Streams(kafka, folder), database)
    await made.streams.make_topics()
    await asyncio.to_thread(migrate, SecretStr(database))
    return made


def lacking(report: Any) -> Iterator[tuple[str, int, list[list[int]]]]:
    """The partitions that lack something, and what."""
    for partition in report["partitions"]:
        if partition["missing"]:
            yield partition["topic"], partition["partition"], partition["holes"]


async def test_when_everything_has_come_to_its_end_nothing_is_missing(pipeline: Pipeline) -> None:
    given = postbacks(MESSAGES_GIVEN, seed=1)
    await pipeline.streams.give(given)
    await send(
        pipeline.kafka, REJECTED, encode(Rejected(rejection_id="1", reason="no_type", received_at=at(0)))
    )
    await pipeline.run()
    status, report = await pipeline.reconcile()
    assert (status, report["complete"], report["missing"], report["behind"]) == (0, True, 0, 0)
    assert sum(p["stored"] for p in report["partitions"] if p["topic"] != REJECTED) == len(given)
    assert sum(p["stored"] for p in report["partitions"] if p["topic"] == REJECTED) == 1
    assert report["events"]["checked"] == len(given)
    assert report["keys"]["checked"] == len(await pipeline.streams.messages())
    assert report["rejected"] == [{"stage": "gateway", "reason": "no_type", "count": 1}]
    words = await pipeline.in_words()
    assert "Complete since" in words
    assert "nothing is missing" in words


async def test_of_an_empty_pipeline_nothing_is_missing(pipeline: Pipeline) -> None:
    status, report = await pipeline.reconcile()
    assert (status, report["missing"], report["behind"]) == (0, 0, 0)


async def test_a_row_that_is_gone_is_named_by_its_offset(pipeline: Pipeline) -> None:
    await send(pipeline.kafka, SENT, *(encode(sent(f"s{n}", n)) for n in range(10)), partition=2)
    await pipeline.store()
    pipeline.forget("postbacks", "offset IN (0, 4, 5, 9)")
    status, report = await pipeline.reconcile()
    assert status == 1
    assert list(lacking(report)) == [(SENT, 2, [[0, 0], [4, 5], [9, 9]])]
    assert report["missing"] == 4
    words = await pipeline.in_words()
    assert "postbacks.sent/2 offsets 4 to 5" in words
    assert "Not complete" in words


async def test_what_the_sinks_have_not_committed_is_behind_and_no_failure(pipeline: Pipeline) -> None:
    await send(pipeline.kafka, SENT, *(encode(sent(f"s{n}", n)) for n in range(10)))
    await pipeline.store()
    await send(pipeline.kafka, SENT, *(encode(sent(f"t{n}", n)) for n in range(200)))
    await send(pipeline.kafka, RECEIPT, encode(receipt()), partition=3)
    status, report = await pipeline.reconcile()
    assert (status, report["missing"]) == (0, 0)
    assert sum(p["behind"] for p in report["partitions"]) == 201
    assert report["events"]["behind"] == 211, "streams never ran"
    assert "on their way" in await pipeline.in_words()


async def test_a_row_that_clickhouse_refused_is_not_missing(pipeline: Pipeline) -> None:
    await send(pipeline.kafka, SENT, encode(sent()), b'{"no": "postback"}', encode(sent("s2")))
    await pipeline.store()
    status, report = await pipeline.reconcile()
    assert (status, report["missing"]) == (0, 0)
    assert [(p["stored"], p["refused"]) for p in report["partitions"] if p["stored"]] == [(3, 1)]
    assert report["rejected"] == [{"stage": "sinks", "reason": "VIOLATED_CONSTRAINT", "count": 1}]


async def test_rows_that_were_delivered_twice_collapse_and_others_do_not(pipeline: Pipeline) -> None:
    await send(pipeline.kafka, SENT, *(encode(sent(f"s{n}", n)) for n in range(5)))
    await pipeline.store()
    execute(pipeline.clickhouse, "SYSTEM STOP MERGES postbacks")
    execute(pipeline.clickhouse, "INSERT INTO postbacks SELECT * FROM postbacks WHERE offset < 2")
    status, report = await pipeline.reconcile()
    assert (status, report["doubled"]) == (0, 0)
    assert sum(p["repeated"] for p in report["partitions"]) == 2
    execute(
        pipeline.clickhouse,
        "INSERT INTO postbacks SELECT * REPLACE ('other' AS event_id) FROM postbacks FINAL WHERE offset = 3",
    )
    status, report = await pipeline.reconcile()
    assert (status, report["doubled"]) == (1, 1)


async def test_an_event_that_no_message_knows_is_named(pipeline: Pipeline) -> None:
    given = postbacks(MESSAGES_GIVEN, seed=2)
    await pipeline.streams.give(given)
    await pipeline.run()
    lost = given[7]
    pipeline.forget("message_states", f"message_id = '{lost.message_id}'")
    others = encode_message(state_of(replace(lost, event_id="another")))
    await pipeline.streams.write(MESSAGES, [(key_of(lost.account, lost.message_id), others)])
    await pipeline.store()
    status, report = await pipeline.reconcile()
    assert status == 1
    assert lost.event_id in {event["event_id"] for event in report["events"]["named"]}
    assert {event["message_id"] for event in report["events"]["named"]} == {lost.message_id}
    assert (
        report["missing"]
        == report["events"]["missing"]
        == len({postback.event_id for postback in given if postback.message_id == lost.message_id})
    )
    assert f"{lost.event_id} of message {lost.message_id} of acme" in await pipeline.in_words()


async def test_a_message_that_clickhouse_does_not_have_is_named_by_its_key(pipeline: Pipeline) -> None:
    given = postbacks(MESSAGES_GIVEN, seed=3)
    await pipeline.streams.give(given)
    await pipeline.run()
    pipeline.forget("message_states", f"message_id = '{given[0].message_id}'")
    status, report = await pipeline.reconcile()
    assert (status, report["keys"]["missing"]) == (1, 1)
    assert report["keys"]["named"] == [f"acme/{given[0].message_id}"]


async def test_a_message_at_its_cap_does_not_lack_what_it_has_no_room_for(pipeline: Pipeline) -> None:
    await pipeline.streams.give([receipt(f"{n:03}", n, code="003") for n in range(FACTS_OF_A_KIND + 30)])
    await pipeline.run()
    assert (await pipeline.reconcile())[0] == 0
    # Not even with room for it is a fact forgiven that should be among the first.
    (state,) = rows(pipeline.clickhouse, "SELECT * FROM messages")
    assert len(state["receipts"]) == FACTS_OF_A_KIND
    pipeline.forget("message_states", "1")
    full = state_of(receipt("999", 999))
    full.receipts = [replace(full.receipts[0], event_id=f"{n:03}", received_at=at(n)) for n in range(1, 101)]
    await pipeline.streams.write(MESSAGES, [(key_of("acme", MESSAGE), encode_message(full))])
    await pipeline.store()
    status, report = await pipeline.reconcile()
    assert (status, [event["event_id"] for event in report["events"]["named"]]) == (1, ["000"])


async def test_a_record_that_streams_rejected_is_in_no_message_and_not_missed(pipeline: Pipeline) -> None:
    value = encode(sent())
    await pipeline.streams.write(SENT, [(b"another/key", value)])
    await pipeline.run()
    status, report = await pipeline.reconcile()
    assert (status, report["missing"], report["events"]["checked"]) == (0, 0, 1)
    assert report["rejected"] == [{"stage": "streams", "reason": "foreign_key", "count": 1}]


async def test_since_leaves_out_what_came_before(pipeline: Pipeline) -> None:
    old = [sent(f"old{n}", received_at="2026-01-01T00:00:00.000Z") for n in range(3)]
    await send(pipeline.kafka, SENT, *map(encode, old))
    await pipeline.store()
    pipeline.forget("postbacks", "offset = 1")
    assert (await pipeline.reconcile())[0] == 1
    since = format_time(datetime.now(UTC))
    new = replace(old[0], event_id="new", received_at=format_time(datetime.now(UTC)))
    await send(pipeline.kafka, SENT, encode(new))
    # A state of a message that nothing was heard of for long: it was marked overdue, say.
    state = encode_message(state_of(old[0]))
    await pipeline.streams.write(MESSAGES, [(key_of("acme", MESSAGE), state)])
    await pipeline.store()
    status, report = await pipeline.reconcile("--since", since)
    assert status == 0
    assert [(p["start"], p["stored"]) for p in report["partitions"] if p["stored"]] == [(3, 1)]
    assert (report["keys"]["checked"], report["keys"]["missing"]) == (1, 0)


async def test_of_a_cluster_that_is_gone_the_holes_between_its_rows_are_missing(
    pipeline: Pipeline, database: str, tmp_path: Path
) -> None:
    await send(pipeline.kafka, SENT, *(encode(sent(f"s{n}", n)) for n in range(10)))
    await pipeline.store()
    async with own_kafka(tmp_path / "kafka") as new:  # in its place
        pipeline = await _pipeline(new.address, database, tmp_path / "new")
        status, report = await pipeline.reconcile()
        assert sum(p["missing"] for p in report["partitions"]) == 0
        pipeline.forget("postbacks", "offset IN (0, 5)")
        _, report = await pipeline.reconcile()
        assert list(lacking(report)) == [(SENT, 0, [[5, 5]])]
        assert report["events"]["missing"] == 8, "no streams ever did anything of theirs, nor ever will"
        assert status == 1


async def test_an_aborted_transaction_leaves_a_gap_and_no_hole(pipeline: Pipeline) -> None:
    async def write(transaction: str, ends_well: bool, *numbers: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=transaction)
        async with producer:
            await producer.begin_transaction()
            for n in numbers:
                await producer.send_and_wait(SENT, encode(sent(f"s{n}", n)), key=b"k", partition=0)
            await (producer.commit_transaction() if ends_well else producer.abort_transaction())

    await write("a", True, 0, 1)  # and a marker at offset 2
    await write("b", False, 2, 3)  # at 3, 4, and its marker at 5
    await write("a", True, 4)  # at 6, marked at 7
    async with worker_of(pipeline.kafka, pipeline.clickhouse):
        last = "SELECT offset FROM postbacks WHERE offset = 6"
        await until(lambda: bool(rows(pipeline.clickhouse, last)), "the last record stored")
    status, report = await pipeline.reconcile()
    assert (status, report["missing"]) == (0, 0)
    assert sum(p["behind"] for p in report["partitions"]) == 0, "a marker at the end is nothing to wait for"
    pipeline.forget("postbacks", "offset IN (3, 4)")  # as a sink would leave it that reads what is committed
    assert (await pipeline.reconcile())[0] == 0
    pipeline.forget("postbacks", "offset = 1")
    status, report = await pipeline.reconcile()
    assert (status, list(lacking(report))) == (1, [(SENT, 0, [[1, 1]])])


def test_clickhouse_and_kafka_agree_on_the_partition_of_a_key(database: str) -> None:
    counted = rows(
        database,
        "SELECT concat('acme/', toString(generateUUIDv4(number))) AS key, "
        f"({PARTITION.format(of=7)})::UInt32 AS partition, CRC32(key)::UInt32 AS sum FROM numbers(500)",
    )
    assert {row["partition"] for row in counted} == set(range(7))
    for row in counted:
        key = row["key"].encode()
        assert (row["partition"], row["sum"]) == ((murmur2(key) & 0x7FFFFFFF) % 7, crc32(key))


async def test_without_kafka_nothing_can_be_said(database: str) -> None:
    settings = {"POSTBACKS_KAFKA": "127.0.0.1:1", "POSTBACKS_CLICKHOUSE": database}
    done = await asyncio.to_thread(command, "reconcile", settings=settings)
    assert done.returncode == 1
    assert "does not answer" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


async def test_a_moment_that_cannot_be_meant_is_refused() -> None:
    done = await asyncio.to_thread(command, "reconcile", "--since", "yesterday", settings={})
    assert done.returncode == 2
    assert "'yesterday' is no moment" in done.stderr
