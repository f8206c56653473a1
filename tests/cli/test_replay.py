"""`postbacks replay`: a fixed parser accepts old rejections, and nothing is counted twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert, structs

from gateway.parsing.postback import parse
from gateway.parsing.request import PROVIDER_FIELDS, RawRequest
from gateway.parsing.submission import parse_answers
from gateway.postback import POSTBACK_TOPICS, TOPIC_OF, AnyPostback, decode, encode
from gateway.rejected import REJECTED, NotAPostback, Rejected, reject_request
from gateway.submission import SUBMISSIONS, decode_submission
from operations.replay.rejection import StoredRejection, parse_again
from operations.replay.stored_request import StoredRequest, record_of
from operations.time_slices import Period, slices
from tests.support.answers import answer, as_json, refusal
from tests.support.gateway import open_gateway, post, request
from tests.support.pipeline import Pipeline, create_pipeline
from tests.support.postbacks import MESSAGE_ID
from tests.support.process import run_module, running
from tests.support.samples import RECEIPT, RECEIVED_AT, RESPONSE, SENT, raw_request
from tests.support.sinks import produce_values, rows
from tests.support.wait import eventually
from tests.support.workload import generate_postbacks, read_all

NAMES = sorted(PROVIDER_FIELDS | {"Unknown", "SMSSent"})
BOUNDARY = "--frontier"


# -- a stored request parses as the original


def stored_request_of(postback: AnyPostback | Rejected) -> StoredRequest:
    """The row that ClickHouse would store."""
    return convert(structs.asdict(postback), StoredRequest)


def test_unreadable_stored_request_is_a_failure() -> None:
    stored = StoredRequest(
        received_at="2026-11-23T04:39:41.123Z",
        account="acme",
        client_ip="",
        query="",
        headers={},
        body="",
        body_base64="a",
    )
    with pytest.raises(NotAPostback) as error:
        record_of(stored)
    assert error.value.reason == "failure"


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
def test_stored_request_parses_to_the_same_postback(
    body: list[tuple[str, str]],
    query: list[tuple[str, str]],
    headers: list[tuple[str, str]],
    suffix: bytes,
    marker: str,
) -> None:
    message = {"MessageID": MESSAGE_ID, marker: "1"}
    for place in range(3):
        original = RawRequest(
            account="acme",
            query=urlencode(query + (list(message.items()) if place == 0 else [])),
            headers=headers + (list(message.items()) if place == 1 else []),
            body=urlencode(body + (list(message.items()) if place == 2 else [])).encode() + b"&x=" + suffix,
            client_ip="203.0.113.7",
            received_at="2026-11-23T04:39:41.123Z",
        )
        try:
            postback = parse(original)
        except NotAPostback:
            continue
        record = record_of(stored_request_of(postback))
        assert record.topic == TOPIC_OF[type(postback)]
        assert decode(record.topic, record.value) == postback


def test_multipart_and_non_utf8_bodies_parse_the_same() -> None:
    multipart = (
        f'{BOUNDARY}\r\nContent-Disposition: form-data; name="SMSSent"\r\n\r\n1\r\n{BOUNDARY}\r\nContent-'
        'Disposition: form-data; name="MessageID"\r\n\r\n9a35e913-ded0-7574-4642-5f60c550c706\r\n'
        f"{BOUNDARY}--\r\n"
    ).encode()
    for body in (multipart, RESPONSE + b" \xfcber", SENT, RECEIPT):
        postback = parse(raw_request(body))
        assert decode(TOPIC_OF[type(postback)], record_of(stored_request_of(postback)).value) == postback


def stored_rejection(
    body: str, reason: str, rejection_id: str = "1", body_base64: str = ""
) -> StoredRejection:
    """The row of a rejection of the gateway."""
    return StoredRejection(
        received_at=RECEIVED_AT,
        account="acme",
        client_ip="",
        query="",
        headers={},
        body=body,
        body_base64=body_base64,
        rejection_id=rejection_id,
        reason=reason,
    )


@pytest.mark.parametrize(
    ("reason", "rejection_id", "topics", "still"),
    [
        ("failure", "1", [], ["no_type"]),
        ("submission_failure", "1", [SUBMISSIONS], []),
        ("no_submission", "1", [SUBMISSIONS], []),
        ("undecodable_submission", "1", [SUBMISSIONS], []),
        ("no_submission", "1/0", [], ["no_submission"]),
    ],
)
def test_reason_decides_what_is_parsed(
    reason: str, rejection_id: str, topics: list[str], still: list[str]
) -> None:
    parsed = parse_again(stored_rejection(f"[{as_json(answer()).decode()}]", reason, rejection_id))
    assert [record.topic for record in parsed.records] == topics
    assert parsed.rejected == still


@pytest.mark.parametrize("reason", ["failure", "submission_failure"])
def test_unreadable_stored_rejection_is_a_failure_again(reason: str) -> None:
    assert parse_again(stored_rejection("", reason, body_base64="a")).rejected == [reason]


# -- time slices


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 30))
def test_slices_cover_all_rows_within_the_limit(counts: list[int], max_rows: int) -> None:
    start, minute = datetime(2026, 11, 23, tzinfo=UTC), timedelta(minutes=1)
    periods = [Period(start + 2 * number * minute, count) for number, count in enumerate(counts)]
    found = list(slices(periods, minute, max_rows))
    assert sum(slice.rows for slice in found) == sum(counts)
    assert all(slice.rows <= max_rows for slice in found)
    assert all(before.stop <= after.start for before, after in pairwise(found))
    assert all(slice.start < slice.stop for slice in found)
    for period in periods:
        assert any(slice.start <= period.start < slice.stop for slice in found)


# -- with running engines


@pytest_asyncio.fixture
async def pipeline(fresh_kafka: str, prepared_database: str, tmp_path: Path) -> Pipeline:
    return await create_pipeline(fresh_kafka, prepared_database, tmp_path)


async def replay(pipeline: Pipeline, *arguments: str) -> CompletedProcess[str]:
    done = await pipeline.command("replay", *arguments)
    assert "Traceback" not in done.stderr
    return done


def count_rows(pipeline: Pipeline, query: str) -> int:
    (row,) = rows(pipeline.clickhouse, f"SELECT count()::UInt32 AS n FROM {query}")
    return int(row["n"])


async def records_of(pipeline: Pipeline) -> list[Any]:
    return [record for topic in POSTBACK_TOPICS for record in await read_all(pipeline.kafka, topic)]


def comparable(record: Any) -> tuple[str, bytes, str]:
    """A record without the order of its JSON keys."""
    return record.topic, record.key, json.dumps(json.loads(record.value), sort_keys=True)


async def test_rejection_that_now_parses_is_published(pipeline: Pipeline) -> None:
    parseable = reject_request(
        raw_request(RECEIPT + b"&Odd=\xfcber", "a=1"), "failure", "1"
    )  # as a gateway with a bug rejected it
    unparseable = reject_request(raw_request(b"nothing=1"), "no_type", "2")
    await produce_values(pipeline.kafka, REJECTED, encode(parseable), encode(unparseable))
    await pipeline.run()
    day = ("--since", "2026-11-23", "--until", "2026-11-24")
    dry_run = await replay(pipeline, "rejected", *day, "--dry-run")
    assert dry_run.returncode == 0
    assert [line.rsplit(maxsplit=1) for line in dry_run.stdout.splitlines()] == [
        ["Would publish to postbacks.sent", "0"],
        ["Would publish to postbacks.response", "0"],
        ["Would publish to postbacks.receipt", "1"],
        ["Would publish to submissions", "0"],
        ["Still rejected: no_type", "1"],
    ]
    assert await records_of(pipeline) == []

    done = await replay(pipeline, "rejected", *day)
    assert done.returncode == 0
    assert "Still rejected: no_type" in done.stdout
    await pipeline.run()
    (record,) = await records_of(pipeline)
    assert decode(record.topic, record.value) == parse(raw_request(RECEIPT + b"&Odd=\xfcber", "a=1"))
    (message,) = rows(pipeline.clickhouse, "SELECT status, first_seen_at FROM messages")
    assert message == {"status": "in_transit", "first_seen_at": parseable.received_at}
    assert count_rows(pipeline, "rejected FINAL") == 2, (
        "a request that still does not parse is not rejected again"
    )


async def test_rejected_submissions_are_replayed_as_submissions(pipeline: Pipeline) -> None:
    body = as_json([answer(MessageID=MESSAGE_ID), refusal(2), refusal(2), {"odd": 1}])
    rejections = [  # as a gateway with a bug rejected them
        reject_request(raw_request(body, "a=1"), "submission_failure", "1"),
        *(
            reject_request(raw_request(as_json(refusal(3))), "no_submission", f"{'0' * 32}/{position}")
            for position in range(2)
        ),
        reject_request(raw_request(as_json([answer()])), "no_submission", f"{'0' * 32}/2"),
        reject_request(raw_request(SENT), "undecodable_submission", "2"),
    ]
    await produce_values(pipeline.kafka, REJECTED, *map(encode, rejections))
    await pipeline.run()
    since = ("--since", "2026-11-23")
    dry_run = await replay(pipeline, "rejected", *since, "--dry-run")
    assert [line.rsplit(maxsplit=1) for line in dry_run.stdout.splitlines()[3:]] == [
        ["Would publish to submissions", "5"],
        ["Still rejected: no_submission", "2"],
        ["Still rejected: undecodable_submission", "1"],
    ]
    for _ in range(2):
        assert (await replay(pipeline, "rejected", *since)).returncode == 0
    await pipeline.run()
    assert await records_of(pipeline) == []
    published = [decode_submission(record.value) for record in await read_all(pipeline.kafka, SUBMISSIONS)]
    assert len(published) == 10
    whole = parse_answers(raw_request(body, "a=1")).submissions
    assert all(published.count(submission) == 2 for submission in whole)
    assert count_rows(pipeline, "(SELECT DISTINCT event_id FROM submissions)") == 5, (
        "equal refusals in an array stay different events"
    )
    (message,) = rows(pipeline.clickhouse, "SELECT message_id, status, submitted_at FROM messages")
    assert message == {"message_id": MESSAGE_ID, "status": "submitted", "submitted_at": RECEIVED_AT}


async def test_replaying_everything_changes_no_count(pipeline: Pipeline) -> None:
    multipart = "----x\r\nContent-Disposition: form-data; name={}\r\n\r\n{}\r\n"
    parts = {
        "SMSResponse": "1",
        "MessageID": MESSAGE_ID,
        "Message": "\x00 \u20ac'\\",
    }
    form = "".join(multipart.format(*part) for part in parts.items()) + "----x--\r\n"
    with open_gateway(pipeline.kafka, partitions=pipeline.streams.partitions) as gateway:
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
    before = {name: count_rows(pipeline, query) for name, query in counts.items()}
    messages = rows(pipeline.clickhouse, "SELECT * FROM messages ORDER BY message_id")
    events = rows(pipeline.clickhouse, "SELECT * FROM events ORDER BY event_id")
    records = await records_of(pipeline)
    assert before == {"events": 7, "messages": 3, "rejections": 1, "times": 8}
    for table in ("rejected", "postbacks"):
        assert (await replay(pipeline, table, "--since", "1d")).returncode == 0
    await pipeline.run()
    replayed = await records_of(pipeline)
    assert len(replayed) == 2 * len(records)
    assert sorted(map(comparable, replayed)) == sorted(2 * [comparable(record) for record in records])
    assert {name: count_rows(pipeline, query) for name, query in counts.items()} == before
    assert rows(pipeline.clickhouse, "SELECT * FROM messages ORDER BY message_id") == messages
    assert rows(pipeline.clickhouse, "SELECT * FROM events ORDER BY event_id") == events
    # A second replay publishes as many records: it skips those of the first.
    assert (await replay(pipeline, "postbacks", "--since", "1d")).returncode == 0
    assert len(await records_of(pipeline)) == 3 * len(records)


async def test_options_select_what_is_replayed(pipeline: Pipeline) -> None:
    for number, (account, hour) in enumerate([("acme", 1), ("acme", 5), ("other", 3)]):
        original = raw_request(SENT, account=account, received_at=f"2026-11-20T{hour:02}:00:00.000Z")
        rejection = reject_request(original, "failure", str(number))
        await produce_values(pipeline.kafka, REJECTED, encode(rejection))
    await pipeline.run()

    async def count(*options: str) -> int:
        done = await replay(pipeline, "rejected", "--dry-run", *options)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split("postbacks.sent")[1].split()[0])

    assert await count("--since", "2026-11-20") == 3
    assert await count("--since", "2026-11-20T01:00", "--until", "2026-11-20T03:00") == 1
    assert await count("--since", "2026-11-20", "--account", "acme") == 2
    assert await count("--since", "2026-11-20", "--reason", "no_type") == 0


async def test_interrupted_replay_has_published_in_order(pipeline: Pipeline) -> None:
    times = [postback.received_at for postback in generate_postbacks(100, seed=1)]
    originals = (raw_request(SENT, account=f"a{n}", received_at=at) for n, at in enumerate(times))
    rejections = [reject_request(original, "failure", str(n)) for n, original in enumerate(originals)]
    await produce_values(pipeline.kafka, REJECTED, *map(encode, rejections))
    await pipeline.run()
    arguments = ("replay", "rejected", "--since", "1d", "--rate", "5")
    with running("cli", *arguments, **pipeline.settings) as replaying:
        await eventually(lambda: records_of(pipeline), "something is published")
        assert replaying.stop() == 1
    published = [decode(record.topic, record.value).received_at for record in await records_of(pipeline)]
    assert 0 < len(published) < len(times), "at five per second it had not finished"
    assert sorted(published) == sorted(times)[: len(published)]


def test_reason_option_is_refused_for_postbacks() -> None:
    done = run_module("cli", "replay", "postbacks", "--since", "1d", "--reason", "x")
    assert done.returncode == 2
    assert "--reason is only for `rejected`" in done.stderr
