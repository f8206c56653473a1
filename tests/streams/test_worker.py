"""Workers of streams: what they make of postbacks, through kills and stale writes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.postback import RECEIPT, REJECTED, SENT, decode_rejected, encode, format_time, key_of
from streams.message import MESSAGES, VERSION, decode_message, encode_message, state_of
from tests.support.postbacks import receipt, sent
from tests.support.process import ROOT
from tests.support.streams import POLL_SECONDS, SECONDS, Streams
from tests.support.workload import differences, fold, joined, last, postbacks, read_all

MESSAGES_GIVEN = 2_000


@pytest_asyncio.fixture
async def streams(fresh_kafka: str, tmp_path: Path) -> Streams:
    made = Streams(fresh_kafka, tmp_path)
    await made.make_topics()
    return made


def now() -> str:
    return format_time(datetime.now(UTC))


def message_id(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012x}"


def key(n: int) -> bytes:
    return key_of("acme", message_id(n))


async def until(condition: Callable[[list[Any]], bool], streams: Streams) -> list[Any]:
    """The records of `messages` as soon as the condition holds for them."""
    async with asyncio.timeout(SECONDS):
        while True:
            records = await streams.messages()
            if condition(records):
                return records
            await asyncio.sleep(POLL_SECONDS)


async def test_messages_are_the_fold_of_all_postbacks_byte_for_byte(streams: Streams) -> None:
    given = postbacks(MESSAGES_GIVEN, seed=1)
    await streams.give(given[:3000])
    with streams.worker() as worker:
        await streams.merged()
        await streams.give(given[3000:])
        await streams.merged()
        records = await streams.messages()
        assert differences(last(records), streams.folded) == {}
        assert await worker.metric("merged_total") == len(given)
        assert await worker.metric("states_written_total") == len(records)
        assert worker.process.stop() == 0


async def test_each_record_tells_the_status_before_and_after_it(streams: Streams) -> None:
    await streams.give(postbacks(200, seed=2))
    with streams.worker():
        await streams.merged()
        records = await streams.messages()
    before: dict[bytes, bytes] = {}
    for record in records:
        told = dict(record.headers)
        assert told["previous"] == before.get(record.key, b"")
        assert told["status"] == decode_message(record.value).status.encode()
        before[record.key] = told["status"]


async def test_what_comes_again_is_not_written_again(streams: Streams) -> None:
    given = postbacks(200, seed=3)
    await streams.give(given)
    with streams.worker():
        await streams.merged()
        written = len(await streams.messages())
        await streams.give(given)
        await streams.merged()
        assert len(await streams.messages()) == written


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_worker_that_comes_back_goes_on_with_what_it_has_on_disk(streams: Streams, end: str) -> None:
    given = postbacks(MESSAGES_GIVEN, seed=4)
    await streams.give(given[:4000])
    with streams.worker() as worker:
        await streams.merged()
        getattr(worker.process, end)()
    await streams.give(given[4000:])
    with streams.worker() as worker:
        await streams.merged()
        if end == "stop":
            assert await worker.metric("states_recovered_total") <= streams.partitions, "the store was warm"
    assert differences(last(await streams.messages()), streams.folded) == {}


@pytest.mark.parametrize("store", ["rocksdb", "memory"])
async def test_on_an_empty_disk_the_states_are_filled_from_the_topic(streams: Streams, store: str) -> None:
    given = postbacks(MESSAGES_GIVEN, seed=5)
    await streams.give(given[:4000])
    with streams.worker("a", store=store) as worker:
        await streams.merged()
        worker.process.kill()
    await streams.give(given[4000:])
    with streams.worker("b", store=store):
        await streams.merged()
    assert differences(last(await streams.messages()), streams.folded) == {}


@pytest.mark.parametrize("folder", ["a", "b"], ids=["with what is on disk", "on an empty disk"])
async def test_stale_states_written_before_a_recovery_are_healed_by_it(streams: Streams, folder: str) -> None:
    given = postbacks(300, seed=6)
    await streams.give(given)
    with streams.worker("a") as worker:
        await streams.merged()
        worker.process.stop()
    await streams.write(MESSAGES, stale_states(given))
    assert differences(last(await streams.messages()), streams.folded), "the topic tells less than it did"
    with streams.worker(folder):
        await streams.last_is(streams.folded)


async def test_stale_states_and_tombstones_written_while_it_works_are_healed(streams: Streams) -> None:
    given = postbacks(300, seed=7)
    await streams.give(given)
    with streams.worker() as worker:
        await streams.merged()
        stale = stale_states(given)
        await streams.write(MESSAGES, stale[10:] + [(foreign, None) for foreign, _ in stale[:10]])
        # A broker that calls the end of a log too low shows it only with the next write of each partition.
        await streams.give(postbacks(50, seed=8))
        await streams.last_is(streams.folded)
        assert await worker.metric("states_healed_total") > 0
        worker.process.kill()
    with streams.worker("b"):
        await streams.last_is(streams.folded)


def stale_states(given: list[Any]) -> list[tuple[bytes | None, bytes | None]]:
    """Of each message the state after the first of its postbacks."""
    first: dict[bytes, bytes] = {}
    for postback in given:
        first.setdefault(key_of(postback.account, postback.message_id), encode_message(state_of(postback)))
    return list(first.items())


@pytest.mark.parametrize("when", ["before its recovery", "while it works"])
async def test_a_state_of_a_newer_version_ends_the_worker(streams: Streams, when: str) -> None:
    newer = state_of(sent())
    newer.version = VERSION + 1
    record = (key_of("acme", newer.message_id), encode_message(newer))
    if when == "before its recovery":
        await streams.write(MESSAGES, [record])
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "streams"),
        cwd=ROOT,
        env=streams.settings(ops="127.0.0.1:0"),
        stderr=subprocess.PIPE,
    )
    try:
        if when == "while it works":
            await streams.give(postbacks(20, seed=9))
            await streams.merged()
            await streams.write(MESSAGES, [record])
            await streams.give(postbacks(20, seed=10))
        _, said = await asyncio.wait_for(worker.communicate(), SECONDS)
    finally:
        with suppress(ProcessLookupError):
            worker.kill()
    assert worker.returncode == 2
    sentence = f"a message has format {VERSION + 1}, this code knows up to {VERSION}: upgrade it"
    assert sentence in said.decode().splitlines()


async def test_a_silent_message_is_let_go_of_also_through_a_kill_and_a_rebuild(streams: Streams) -> None:
    await streams.give([sent(message_id=message_id(n), received_at=now()) for n in range(20)])
    with streams.worker("a", forget_after=4) as worker:
        await streams.merged()
        worker.process.kill()
    with streams.worker("b", forget_after=4) as worker:
        records = await until(lambda records: not last(records), streams)
        tombstones = [record for record in records if record.value is None]
        assert {record.key for record in tombstones} == {key(n) for n in range(20)}
        assert {tuple(record.headers) for record in tombstones} == {(("status", b""), ("previous", b"sent"))}
        late = receipt(message_id=message_id(3), received_at=now(), code="000")
        await streams.give([late])
        records = await until(lambda records: key(3) in last(records), streams)
        assert last(records)[key(3)] == encode_message(state_of(late)), "a later fact starts a new state"
        worker.process.kill()
    with streams.worker("c", forget_after=4):
        await until(lambda records: not last(records), streams)


async def test_an_overdue_message_is_marked_once_also_through_kills_and_a_rebuild(streams: Streams) -> None:
    at = now()
    awaiting = [sent(message_id=message_id(n), received_at=at, from_number="74121") for n in range(30)]
    others = [
        sent(message_id=message_id(n), received_at=at, from_number="17575449510") for n in range(30, 40)
    ]
    answered = [receipt(message_id=message_id(n), received_at=at) for n in range(5)]
    await streams.give([*awaiting, *others, *answered])
    with streams.worker("a", overdue_after=3) as worker:
        await streams.merged()
        worker.process.kill()
    with streams.worker("a", overdue_after=3) as worker:
        await until(lambda records: len(overdue(records)) >= 25, streams)
        worker.process.kill()
    with streams.worker("b", overdue_after=3) as worker:
        await worker.ready()
        await asyncio.sleep(2)  # nothing is to happen, so there is nothing to wait for
        marked = overdue(await streams.messages())
        assert sorted(record.key for record in marked) == [key(n) for n in range(5, 30)], "each once"
        # A receipt that came in time, and got here late, takes it back.
        await streams.give([receipt(message_id=message_id(7), received_at=at)])
        await until(lambda records: decode_message(last(records)[key(7)]).overdue_at is None, streams)


def overdue(records: list[Any]) -> list[Any]:
    return [record for record in records if record.value and decode_message(record.value).overdue_at]


async def test_what_is_no_postback_is_rejected_and_the_rest_of_its_batch_goes_on(streams: Streams) -> None:
    good = [sent(f"s{n}", message_id=message_id(n), received_at=now()) for n in range(3)]
    foreign = sent(message_id=message_id(9), received_at=now())
    await streams.write(
        SENT,
        [
            (key(0), encode(good[0])),
            (key(0), b"not JSON"),
            (key(1), None),
            (b"other/" + message_id(9).encode(), encode(foreign)),
            (None, b"\xff"),
            (key(1), encode(good[1])),
            (key(2), encode(good[2])),
        ],
    )
    with streams.worker():
        await streams.merged()
        assert last(await streams.messages()) == fold(good)
    rejected = [decode_rejected(record.value) for record in await read_all(streams.kafka, REJECTED)]
    assert sorted((one.reason, one.body or one.body_base64) for one in rejected) == [
        ("empty_record", ""),
        ("foreign_key", encode(foreign).decode()),
        ("undecodable_record", "/w=="),
        ("undecodable_record", "not JSON"),
    ]
    assert {(one.stage, one.topic) for one in rejected} == {("streams", SENT)}
    assert len({one.rejection_id for one in rejected}) == 4


async def test_more_partitions_than_workers_and_workers_that_come_and_go(streams: Streams) -> None:
    given = postbacks(MESSAGES_GIVEN, seed=11)
    with streams.worker("a") as first:
        await streams.give(given[:2000])
        with streams.worker("b") as second:
            await second.ready()
            await streams.give(given[2000:4000])
            second.process.kill()
        await streams.give(given[4000:5000])
        with streams.worker("b") as second:
            first.process.stop()
            await streams.give(given[5000:])
            await streams.merged()
    assert differences(joined(await streams.messages()), streams.folded) == {}


async def test_more_workers_than_partitions_one_of_which_waits_and_takes_over(
    fresh_kafka: str, tmp_path: Path
) -> None:
    streams = Streams(fresh_kafka, tmp_path, partitions=1)
    await streams.make_topics()
    given = postbacks(300, seed=12)
    with streams.worker("a") as busy:
        await streams.give(given[:500])
        await streams.merged()
        with streams.worker("b") as idle:
            await idle.ready()
            await streams.merged()
            busy.process.kill()
            await streams.give(given[500:])
            await streams.merged()
            assert idle.process.running
    assert differences(joined(await streams.messages()), streams.folded) == {}


async def test_a_receipt_that_came_before_anything_else_is_not_lost(streams: Streams) -> None:
    await streams.write(RECEIPT, [(key(1), encode(receipt(message_id=message_id(1), received_at=now())))])
    with streams.worker():
        records = await until(lambda records: key(1) in last(records), streams)
    assert decode_message(last(records)[key(1)]).orphan
