"""The states that streams workers write, through kills, rebalances and stale writes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from gateway.postback import RECEIPT, SENT, encode, format_time, key_of
from gateway.rejected import REJECTED, decode_rejected
from gateway.submission import SUBMISSIONS
from streams.merge import state_of
from streams.message import MESSAGES, VERSION, decode_message, encode_message
from tests.support.postbacks import receipt, sent
from tests.support.streams import Streams
from tests.support.submissions import submission
from tests.support.wait import eventually
from tests.support.workload import compact, diff_states, fold, generate_postbacks, join_states, read_all

MESSAGES_GIVEN = 2_000


@pytest_asyncio.fixture
async def streams(fresh_kafka: str, tmp_path: Path) -> Streams:
    made = Streams(fresh_kafka, tmp_path)
    await made.create_topics()
    return made


def now() -> str:
    return format_time(datetime.now(UTC))


def message_id(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012x}"


def key(n: int) -> bytes:
    return key_of("acme", message_id(n))


async def test_states_equal_the_fold_of_all_postbacks(streams: Streams) -> None:
    given = generate_postbacks(MESSAGES_GIVEN, seed=1)
    await streams.produce(given[:3000])
    with streams.worker() as worker:
        await streams.wait_committed()
        await streams.produce(given[3000:])
        await streams.wait_committed()
        records = await streams.messages()
        assert diff_states(compact(records), streams.expected) == {}
        assert worker.metric("postbacks_streams_merged_total") == len(given)
        assert worker.metric("postbacks_streams_states_written_total") == len(records)
        assert worker.process.stop() == 0


async def test_submissions_among_postbacks_join_their_messages(streams: Streams) -> None:
    given = generate_postbacks(200, seed=4)
    answers = [
        submission(
            f"u{n:031x}",
            account=postback.account,
            message_id=postback.message_id,
            received_at=postback.received_at,
            error=n % 3,
            text=f"text {n}" if n % 2 else "",
        )
        for n, postback in enumerate(given)
    ]
    without_request = [replace(answer, text="", reference_id="") for answer in answers[::5]]
    await streams.produce([*answers[:100], *given, *without_request])
    with streams.worker():
        await streams.wait_committed()
        await streams.produce([*answers[100:], *given[:50]])
        await streams.produce_raw(
            SUBMISSIONS, [(b"acme/u1", encode(submission(message_id=None, error=3))), (b"?", b"?")]
        )
        await streams.wait_committed()
        assert diff_states(compact(await streams.messages()), streams.expected) == {}
    (rejected,) = [decode_rejected(record.value) for record in await read_all(streams.kafka, REJECTED)]
    assert (rejected.topic, rejected.reason) == (SUBMISSIONS, "undecodable_record")


async def test_submission_is_unsent_until_timely_attempt_is_merged(streams: Streams) -> None:
    event = submission(message_id=message_id(1), received_at=now())
    await streams.produce([event])
    with streams.worker(unsent_after=2):
        due = format_time(datetime.fromisoformat(event.received_at) + timedelta(seconds=2))
        last = await streams.wait_for_messages(
            "an unsent message", lambda last: key(1) in last and b"unsent_at" in last[key(1)]
        )
        assert decode_message(last[key(1)]).unsent_at == due
        await streams.produce([sent(message_id=message_id(1), received_at=event.received_at)])
        await streams.wait_for_states(streams.expected)


async def test_headers_have_the_status_before_and_after(streams: Streams) -> None:
    await streams.produce(generate_postbacks(200, seed=2))
    with streams.worker():
        await streams.wait_committed()
        records = await streams.messages()
    previous: dict[bytes, bytes] = {}
    for record in records:
        headers = dict(record.headers)
        assert headers["previous"] == previous.get(record.key, b"")
        assert headers["status"] == decode_message(record.value).status.encode()
        previous[record.key] = headers["status"]


async def test_duplicates_are_not_written(streams: Streams) -> None:
    given = generate_postbacks(200, seed=3)
    await streams.produce(given)
    with streams.worker():
        await streams.wait_committed()
        written = len(await streams.messages())
        await streams.produce(given)
        await streams.wait_committed()
        assert len(await streams.messages()) == written


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_restarted_worker_continues_with_its_local_states(streams: Streams, end: str) -> None:
    given = generate_postbacks(MESSAGES_GIVEN, seed=4)
    await streams.produce(given[:4000])
    with streams.worker() as worker:
        await streams.wait_committed()
        getattr(worker.process, end)()
    await streams.produce(given[4000:])
    with streams.worker() as worker:
        await streams.wait_committed()
        if end == "stop":
            assert worker.metric("postbacks_streams_states_recovered_total") <= streams.partitions, (
                "the store was warm"
            )
    assert diff_states(compact(await streams.messages()), streams.expected) == {}


@pytest.mark.parametrize("store", ["rocksdb", "memory"])
async def test_states_are_restored_on_an_empty_disk(streams: Streams, store: str) -> None:
    given = generate_postbacks(MESSAGES_GIVEN, seed=5)
    await streams.produce(given[:4000])
    with streams.worker("a", store=store) as worker:
        await streams.wait_committed()
        worker.process.kill()
    await streams.produce(given[4000:])
    with streams.worker("b", store=store):
        await streams.wait_committed()
    assert diff_states(compact(await streams.messages()), streams.expected) == {}


@pytest.mark.parametrize("folder", ["a", "b"], ids=["with local states", "on an empty disk"])
async def test_stale_states_are_repaired_after_a_restore(streams: Streams, folder: str) -> None:
    given = generate_postbacks(300, seed=6)
    await streams.produce(given)
    with streams.worker("a") as worker:
        await streams.wait_committed()
        worker.process.stop()
    await streams.produce_raw(MESSAGES, stale_states(given))
    assert diff_states(compact(await streams.messages()), streams.expected), "stale states are last"
    with streams.worker(folder):
        await streams.wait_for_states(streams.expected)


async def test_stale_states_and_tombstones_are_repaired_while_working(streams: Streams) -> None:
    given = generate_postbacks(300, seed=7)
    await streams.produce(given)
    with streams.worker() as worker:
        await streams.wait_committed()
        stale = stale_states(given)
        await streams.produce_raw(MESSAGES, stale[10:] + [(foreign, None) for foreign, _ in stale[:10]])
        # A broker that reports too low a log end corrects it only with the next write to each partition.
        await streams.produce(generate_postbacks(50, seed=8))
        await streams.wait_for_states(streams.expected)
        assert worker.metric("postbacks_streams_changelog_repairs_total") > 0
        worker.process.kill()
    with streams.worker("b"):
        await streams.wait_for_states(streams.expected)


def stale_states(given: list[Any]) -> list[tuple[bytes | None, bytes | None]]:
    """Each message's state after the first of its postbacks."""
    first: dict[bytes, bytes] = {}
    for postback in given:
        first.setdefault(key_of(postback.account, postback.message_id), encode_message(state_of(postback)))
    return list(first.items())


@pytest.mark.parametrize("when", ["before the start", "while working"])
async def test_state_of_newer_version_ends_the_worker(
    streams: Streams, when: str, capfd: pytest.CaptureFixture[str]
) -> None:
    newer = state_of(sent())
    newer.version = VERSION + 1
    record = (key_of("acme", newer.message_id), encode_message(newer))
    if when == "before the start":
        await streams.produce_raw(MESSAGES, [record])
    with streams.worker() as worker:
        if when == "while working":
            await streams.produce(generate_postbacks(20, seed=9))
            await streams.wait_committed()
            await streams.produce_raw(MESSAGES, [record])
            await streams.produce(generate_postbacks(20, seed=10))
        assert await worker.process.wait() == 2
    sentence = f"a message has format {VERSION + 1}, this code knows up to {VERSION}: upgrade it"
    assert sentence in capfd.readouterr().err.splitlines()


async def test_old_messages_expire_across_kill_and_restore(streams: Streams) -> None:
    await streams.produce([sent(message_id=message_id(n), received_at=now()) for n in range(20)])
    with streams.worker("a", overdue_after=3, unsent_after=3, forget_after=4) as worker:
        await streams.wait_committed()
        worker.process.kill()
    with streams.worker("b", overdue_after=3, unsent_after=3, forget_after=4) as worker:
        await streams.wait_for_messages("all expired", lambda last: not last)
        records = await streams.messages()
        tombstones = [record for record in records if record.value is None]
        assert {record.key for record in tombstones} == {key(n) for n in range(20)}
        assert {tuple(record.headers) for record in tombstones} == {(("status", b""), ("previous", b"sent"))}
        late = receipt(message_id=message_id(3), received_at=now(), code="000")
        await streams.produce([late])
        alone = key(3), encode_message(state_of(late))
        await eventually(  # among all records: it expires, too
            streams.messages,
            "a state of its own for the late receipt",
            lambda records: alone in [(record.key, record.value) for record in records],
        )
        worker.process.kill()
    with streams.worker("c", overdue_after=3, unsent_after=3, forget_after=4):
        await streams.wait_for_messages("all expired", lambda last: not last)


async def test_overdue_messages_are_marked_once_across_kills(streams: Streams) -> None:
    at = now()
    awaiting = [sent(message_id=message_id(n), received_at=at, from_number="74121") for n in range(30)]
    others = [
        sent(message_id=message_id(n), received_at=at, from_number="17575449510") for n in range(30, 40)
    ]
    answered = [receipt(message_id=message_id(n), received_at=at) for n in range(5)]
    await streams.produce([*awaiting, *others, *answered])
    with streams.worker("a", overdue_after=3) as worker:
        await streams.wait_committed()
        worker.process.kill()
    with streams.worker("a", overdue_after=3) as worker:
        await eventually(streams.messages, "25 overdue", lambda records: len(overdue(records)) >= 25)
        worker.process.kill()
    with streams.worker("b", overdue_after=3) as worker:
        await worker.wait_ready()
        await asyncio.sleep(2)  # nothing should happen, so there is no condition to wait for
        marked = overdue(await streams.messages())
        assert sorted(record.key for record in marked) == [key(n) for n in range(5, 30)], "once each"
        # A receipt that was received in time but is merged late unmarks the message.
        await streams.produce([receipt(message_id=message_id(7), received_at=at)])
        await streams.wait_for_messages(
            "not overdue", lambda last: decode_message(last[key(7)]).overdue_at is None
        )


def overdue(records: list[Any]) -> list[Any]:
    return [record for record in records if record.value and decode_message(record.value).overdue_at]


async def test_invalid_records_are_rejected_without_their_batch(streams: Streams) -> None:
    good = [sent(f"s{n}", message_id=message_id(n), received_at=now()) for n in range(3)]
    foreign = sent(message_id=message_id(9), received_at=now())
    await streams.produce_raw(
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
        await streams.wait_committed()
        assert compact(await streams.messages()) == fold(good)
    rejected = [decode_rejected(record.value) for record in await read_all(streams.kafka, REJECTED)]
    assert sorted((one.reason, one.body or one.body_base64) for one in rejected) == [
        ("empty_record", ""),
        ("foreign_key", encode(foreign).decode()),
        ("undecodable_record", "/w=="),
        ("undecodable_record", "not JSON"),
    ]
    assert {(one.stage, one.topic) for one in rejected} == {("streams", SENT)}
    assert len({one.rejection_id for one in rejected}) == 4


async def test_workers_joining_and_leaving_lose_nothing(streams: Streams) -> None:
    given = generate_postbacks(MESSAGES_GIVEN, seed=11)
    with streams.worker("a") as first:
        await streams.produce(given[:2000])
        with streams.worker("b") as second:
            await second.wait_ready()
            await streams.produce(given[2000:4000])
            second.process.kill()
        await streams.produce(given[4000:5000])
        with streams.worker("b") as second:
            first.process.stop()
            await streams.produce(given[5000:])
            await streams.wait_committed()
    assert diff_states(join_states(await streams.messages()), streams.expected) == {}


async def test_idle_worker_takes_over_from_a_killed_one(fresh_kafka: str, tmp_path: Path) -> None:
    streams = Streams(fresh_kafka, tmp_path, partitions=1)
    await streams.create_topics()
    given = generate_postbacks(300, seed=12)
    with streams.worker("a") as busy:
        await streams.produce(given[:500])
        await streams.wait_committed()
        with streams.worker("b") as idle:
            await idle.wait_ready()
            await streams.wait_committed()
            busy.process.kill()
            await streams.produce(given[500:])
            await streams.wait_committed()
            assert idle.process.running
    assert diff_states(join_states(await streams.messages()), streams.expected) == {}


async def test_receipt_without_other_events_is_an_orphan(streams: Streams) -> None:
    first = receipt(message_id=message_id(1), received_at=now())
    await streams.produce_raw(RECEIPT, [(key(1), encode(first))])
    with streams.worker():
        last = await streams.wait_for_messages("the message", lambda last: key(1) in last)
    assert decode_message(last[key(1)]).orphan
