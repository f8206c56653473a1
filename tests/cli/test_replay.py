"""`postbacks replay`: a mended parser heals old rejections, and nothing is ever counted twice."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert, structs
from pydantic import SecretStr

from gateway.parsing.postback import parse
from gateway.parsing.request import PROVIDER_FIELDS, RawRequest
from gateway.postback import POSTBACK_TOPICS, REJECTED, TOPIC_OF, AnyPostback, Rejected, decode, encode
from gateway.rejected import NotAPostback, rejected
from operations.replay.stored_request import StoredRequest, record_of
from operations.time_slices import Period, slices
from sinks.migrate import migrate
from tests.support.gateway import open_gateway, post, request
from tests.support.postbacks import MESSAGE
from tests.support.process import running
from tests.support.samples import RECEIPT, RESPONSE, SENT, arrival
from tests.support.sinks import all_stored, rows, send, until, worker_of
from tests.support.stack import command
from tests.support.streams import Streams
from tests.support.workload import postbacks, read_all

NAMES = sorted(PROVIDER_FIELDS | {"Unknown", "SMSSent"})
BOUNDARY = "--frontier"


# -- what is kept is enough


def kept_of(postback: AnyPostback | Rejected) -> StoredRequest:
    """The row that ClickHouse would have."""
    return convert(structs.asdict(postback), StoredRequest)


pairs = st.lists(
    st.tuples(st.sampled_from(NAMES), st.text(st.characters(codec="utf-8"), max_size=8)), max_size=6
)


@given(
    pairs,
    pairs,
    pairs,
    st.binary(max_size=10),
    st.sampled_from(["smssent", "SMSResponse", "DeliveryReceipt"]),
)
def test_what_is_kept_of_any_request_is_read_as_it_was(
    body: list[tuple[str, str]],
    query: list[tuple[str, str]],
    headers: list[tuple[str, str]],
    odd: bytes,
    marker: str,
) -> None:
    message = {"MessageID": MESSAGE, marker: "1"}
    for place in range(3):
        came = RawRequest(
            account="acme",
            query=urlencode(query + (list(message.items()) if place == 0 else [])),
            headers=headers + (list(message.items()) if place == 1 else []),
            body=urlencode(body + (list(message.items()) if place == 2 else [])).encode() + b"&x=" + odd,
            client_ip="203.0.113.7",
            received_at="2026-11-23T04:39:41.123Z",
        )
        try:
            postback = parse(came)
        except NotAPostback:
            continue
        record = record_of(kept_of(postback))
        assert record.topic == TOPIC_OF[type(postback)]
        assert decode(record.topic, record.value) == postback


def test_a_multipart_form_and_one_that_is_not_utf_8_are_read_as_they_were() -> None:
    multipart = (
        f'{BOUNDARY}\r\nContent-Disposition: form-data; name="SMSSent"\r\n\r\n1\r\n{BOUNDARY}\r\nContent-'
        'Disposition: form-data; name="MessageID"\r\n\r\n9a35e913-ded0-7574-4642-5f60c550c706\r\n'
        f"{BOUNDARY}--\r\n"
    ).encode()
    for body in (multipart, RESPONSE + b" \xfcber", SENT, RECEIPT):
        postback = parse(arrival(body))
        assert decode(TOPIC_OF[type(postback)], record_of(kept_of(postback)).value) == postback


# -- slices of time


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 30))
def test_slices_hold_all_rows_in_order_and_few_each(counts: list[int], size: int) -> None:
    start, minute = datetime(2026, 11, 23, tzinfo=UTC), timedelta(minutes=1)
    periods = [Period(start + 2 * number * minute, count) for number, count in enumerate(counts)]
    cut = list(slices(periods, minute, size))
    assert sum(slice.rows for slice in cut) == sum(counts)
    assert all(slice.rows <= size for slice in cut)
    assert all(before.stop <= after.start for before, after in pairwise(cut))
    assert all(slice.start < slice.stop for slice in cut)
    for period in periods:
        assert any(slice.start <= period.start < slice.stop for slice in cut)


# -- against running engines


class Pipeline(NamedTuple):
    """A Kafka with all topics, a database, and what runs between them when it is told to."""

    streams: Streams
    clickhouse: str

    async def run(self) -> None:
        with self.streams.worker():
            await self.streams.merged()
        async with worker_of(self.streams.kafka, self.clickhouse):
            await all_stored(self.streams.kafka)

    async def replay(self, *arguments: str) -> CompletedProcess[str]:
        done = await asyncio.to_thread(command, "replay", *arguments, settings=self.settings)
        assert "Traceback" not in done.stderr
        return done

    @property
    def settings(self) -> dict[str, str]:
        return {
            "POSTBACKS_KAFKA": self.streams.kafka,
            "POSTBACKS_CLICKHOUSE": self.clickhouse,
            "POSTBACKS_PARTITIONS": str(self.streams.partitions),
        }

    def count(self, query: str) -> int:
        (row,) = rows(self.clickhouse, f"SELECT count()::UInt32 AS n FROM {query}")
        return int(row["n"])

    async def records(self) -> list[Any]:
        return [record for topic in POSTBACK_TOPICS for record in await read_all(self.streams.kafka, topic)]


def as_said(record: Any) -> tuple[str, bytes, str]:
    """A record to compare; in which order it names headers is all the same."""
    return record.topic, record.key, json.dumps(json.loads(record.value), sort_keys=True)


@pytest_asyncio.fixture
async def pipeline(fresh_kafka: str, database: str, tmp_path: Path) -> Pipeline:
    made = Pipeline(Streams(fresh_kafka, tmp_path), database)
    await made.streams.make_topics()
    await asyncio.to_thread(migrate, SecretStr(database))
    return made


async def test_a_rejection_that_the_parser_takes_now_is_healed_and_others_stay(pipeline: Pipeline) -> None:
    healed = rejected(
        arrival(RECEIPT + b"&Odd=\xfcber", "a=1"), "failure", "1"
    )  # as a gateway with a fault left it
    hopeless = rejected(arrival(b"nothing=1"), "no_type", "2")
    await send(pipeline.streams.kafka, REJECTED, encode(healed), encode(hopeless))
    await pipeline.run()
    day = ("--since", "2026-11-23", "--until", "2026-11-24")
    rehearsed = await pipeline.replay("rejected", *day, "--dry-run")
    assert rehearsed.returncode == 0
    assert [line.rsplit(maxsplit=1) for line in rehearsed.stdout.splitlines()] == [
        ["Would publish to postbacks.sent", "0"],
        ["Would publish to postbacks.response", "0"],
        ["Would publish to postbacks.receipt", "1"],
        ["Still rejected: no_type", "1"],
    ]
    assert await pipeline.records() == []

    done = await pipeline.replay("rejected", *day)
    assert done.returncode == 0
    assert "Still rejected: no_type" in done.stdout
    await pipeline.run()
    (record,) = await pipeline.records()
    assert decode(record.topic, record.value) == parse(arrival(RECEIPT + b"&Odd=\xfcber", "a=1"))
    (message,) = rows(pipeline.clickhouse, "SELECT status, first_seen_at FROM messages")
    assert message == {"status": "in_transit", "first_seen_at": healed.received_at}
    assert pipeline.count("rejected FINAL") == 2, "what is no postback is not rejected again"


async def test_to_replay_everything_changes_no_count(pipeline: Pipeline) -> None:
    multipart = "----x\r\nContent-Disposition: form-data; name={}\r\n\r\n{}\r\n"
    parts = {
        "SMSResponse": "1",
        "MessageID": MESSAGE,
        "Message": "\x00 \u20ac'\\",
    }
    form = "".join(multipart.format(*part) for part in parts.items()) + "----x--\r\n"
    with open_gateway(pipeline.streams.kafka, partitions=str(pipeline.streams.partitions)) as gateway:
        for body in (SENT, SENT, RESPONSE, RECEIPT, RECEIPT + b"&Odd=\xff\xfe", form.encode()):
            assert (await post(gateway.address, body)).status == 200
        in_query = "/postback?" + SENT.decode().replace("SMSSent=1", "SMSSent=0")
        assert (await post(gateway.address, b"", in_query)).status == 200
        headers = (
            b"POST /postback?a=%fc HTTP/1.1\r\nHost: x\r\nSMSSent: 1\r\nMessageID: {9A35E913-DED0-7574-4642-"
            b"5F60C550C706}\r\nReferenceID: \xfcber\r\nreferenceid: other\r\nContent-Length: 0\r\n\r\n"
        )
        assert (await request(gateway.address, headers)).status == 200
        assert (await post(gateway.address, b"nothing=1")).status == 400
    await pipeline.run()
    counts = {
        "events": "events",
        "messages": "messages",
        "rejections": "rejected FINAL",
        "times": "(SELECT DISTINCT event_id, received_at FROM postbacks)",
    }
    before = {name: pipeline.count(query) for name, query in counts.items()}
    messages = rows(pipeline.clickhouse, "SELECT * FROM messages ORDER BY message_id")
    events = rows(pipeline.clickhouse, "SELECT * FROM events ORDER BY event_id")
    records = await pipeline.records()
    assert before == {"events": 7, "messages": 3, "rejections": 1, "times": 8}
    for table in ("rejected", "postbacks"):
        assert (await pipeline.replay(table, "--since", "1d")).returncode == 0
    await pipeline.run()
    again = await pipeline.records()
    assert len(again) == 2 * len(records)
    assert sorted(map(as_said, again)) == sorted(2 * [as_said(record) for record in records])
    assert {name: pipeline.count(query) for name, query in counts.items()} == before
    assert rows(pipeline.clickhouse, "SELECT * FROM messages ORDER BY message_id") == messages
    assert rows(pipeline.clickhouse, "SELECT * FROM events ORDER BY event_id") == events
    # Once more, it is as much as the first time: what was replayed is not what is replayed.
    assert (await pipeline.replay("postbacks", "--since", "1d")).returncode == 0
    assert len(await pipeline.records()) == 3 * len(records)


async def test_only_what_is_asked_for_is_replayed(pipeline: Pipeline) -> None:
    for number, (account, hour) in enumerate([("acme", 1), ("acme", 5), ("other", 3)]):
        came = arrival(SENT, account=account, received_at=f"2026-11-20T{hour:02}:00:00.000Z")
        await send(pipeline.streams.kafka, REJECTED, encode(rejected(came, "failure", str(number))))
    await pipeline.run()

    async def would(*options: str) -> int:
        done = await pipeline.replay("rejected", "--dry-run", *options)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split("postbacks.sent")[1].split()[0])

    assert await would("--since", "2026-11-20") == 3
    assert await would("--since", "2026-11-20T01:00", "--until", "2026-11-20T03:00") == 1
    assert await would("--since", "2026-11-20", "--account", "acme") == 2
    assert await would("--since", "2026-11-20", "--reason", "no_type") == 0


async def test_it_keeps_to_the_rate_and_says_how_far_it_came(pipeline: Pipeline) -> None:
    given = postbacks(100, seed=1)
    kept = [
        rejected(arrival(SENT, account=f"a{n}", received_at=postback.received_at), "failure", str(n))
        for n, postback in enumerate(given)
    ]
    await send(pipeline.streams.kafka, REJECTED, *map(encode, kept))
    await pipeline.run()
    arguments = ("replay", "rejected", "--since", "1d", "--rate", "5")
    with running("cli", *arguments, environment=pipeline.settings) as slow:

        async def begun() -> bool:
            return bool(await pipeline.records())

        await until(begun, "something published")
        assert slow.stop() == 1
    published = [decode(record.topic, record.value).received_at for record in await pipeline.records()]
    assert 0 < len(published) < len(kept), "at five a second it was not at its end"
    assert sorted(published) == sorted(postback.received_at for postback in given)[: len(published)]


async def test_a_reason_makes_no_sense_for_postbacks() -> None:
    done = await asyncio.to_thread(
        command, "replay", "postbacks", "--since", "1d", "--reason", "x", settings={}
    )
    assert done.returncode == 2
    assert "--reason is for what was rejected" in done.stderr
