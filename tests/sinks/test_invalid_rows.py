"""Invalid rows go into `rejected` with ClickHouse's error; all others are stored."""

from __future__ import annotations

from base64 import b64decode

from gateway.postback import SENT, encode
from gateway.rejected import REJECTED
from streams.merge import state_of
from streams.message import MESSAGES, encode_message
from tests.support.postbacks import MESSAGE_ID, at, sent
from tests.support.sinks import (
    open_sink,
    produce_values,
    rows,
    run_worker,
    stored_messages,
    wait_committed,
)

INVALID: dict[str, bytes] = {
    "not JSON": b"nope",
    "an empty value": b"",
    "an empty object": b"{}",
    "an array": b"[1]",
    "a truncated string": b'{"event_id":"abc',
    "not UTF-8": b'{"event_id":"\xff"}',
    "not UTF-8 in an id": encode(sent()).replace(MESSAGE_ID.encode(), b"\xff\xfe"),
    "two objects": encode(sent("x")) + encode(sent("y")),
    "an object and an invalid one": encode(sent("x")) + b'{"a":1}',
    "an unknown type": encode(sent()).replace(b'"type":"sent"', b'"type":"called"'),
    "no message_id": encode(sent()).replace(b"message_id", b"massage_id"),
    "an invalid time": encode(sent()).replace(b'"received_at":"2', b'"received_at":"x'),
    "a huge number as a time": encode(sent()).replace(b'"received_at":"', b'"received_at":1e400,"x":"'),
    "coordinates in the value": encode(sent())[:-1] + b',"cluster":"mine"}',
    "nested too deeply": b'{"x":' + b"[" * 50_000 + b"}",
}


async def test_refused_rows_are_rejected_with_clickhouses_error(
    prepared_kafka: str, prepared_database: str
) -> None:
    good = [sent(f"good-{n}") for n in range(40)]
    mixed = [encode(postback) for postback in good]
    for n, value in enumerate(INVALID.values()):
        mixed.insert(n * 2 + 1, value)
    await produce_values(prepared_kafka, SENT, *mixed)
    with open_sink(prepared_kafka, prepared_database) as sink:
        await wait_committed(prepared_kafka)
        assert sink.metric("postbacks_sinks_refused_total") == len(INVALID)
    stored = rows(prepared_database, "SELECT DISTINCT event_id FROM postbacks")
    assert {row["event_id"] for row in stored} == {postback.event_id for postback in good}
    rejected = rows(prepared_database, "SELECT * FROM rejected FINAL ORDER BY offset")
    for row, (name, value) in zip(rejected, INVALID.items(), strict=True):
        assert row["reason"].startswith("Code: "), name
        assert mixed[row["offset"]] == value
        assert (row["body"].encode() or b64decode(row["body_base64"])) == value, name
        assert (row["stage"], row["topic"], row["partition"], row["key"]) == ("sinks", SENT, 0, "k")


async def test_rejecting_a_row_again_is_idempotent(prepared_kafka: str, prepared_database: str) -> None:
    await produce_values(prepared_kafka, SENT, b"nope")
    for group in ("once", "again"):
        async with run_worker(prepared_kafka, prepared_database, group):
            await wait_committed(prepared_kafka, group)
    assert len(rows(prepared_database, "SELECT * FROM rejected")) == 2
    assert len(rows(prepared_database, "SELECT * FROM rejected FINAL")) == 1


async def test_many_invalid_rows_are_all_rejected(prepared_kafka: str, prepared_database: str) -> None:
    good = [sent(f"good-{n}") for n in range(500)]
    values = [b"nope" if n % 7 == 0 else encode(postback) for n, postback in enumerate(good)]
    await produce_values(prepared_kafka, SENT, *values)
    with open_sink(prepared_kafka, prepared_database):
        await wait_committed(prepared_kafka)
    assert rows(prepared_database, "SELECT count() AS rows FROM rejected FINAL") == [
        {"rows": values.count(b"nope")}
    ]
    stored = rows(prepared_database, "SELECT event_id FROM postbacks FINAL")
    assert sorted(row["event_id"] for row in stored) == sorted(
        postback.event_id for n, postback in enumerate(good) if n % 7
    )


async def test_invalid_messages_and_rejections_are_rejected_too(
    prepared_kafka: str, prepared_database: str
) -> None:
    state, rejected = (
        encode_message(state_of(sent())),
        b'{"rejection_id":"1","reason":"r","received_at":"%s"}',
    )
    rejected = rejected % at(0).encode()
    await produce_values(
        prepared_kafka, MESSAGES, b"nope", state, state + state, b'{"version":1}', partition=1
    )
    await produce_values(prepared_kafka, REJECTED, rejected, b"nope", rejected + rejected)
    with open_sink(prepared_kafka, prepared_database):
        await wait_committed(prepared_kafka)
    assert list(stored_messages(prepared_database)) == [MESSAGE_ID]
    stored = rows(
        prepared_database,
        "SELECT topic, partition, offset, records FROM rejected FINAL ORDER BY topic, offset",
    )
    assert [(row["topic"], row["partition"], row["offset"]) for row in stored] == [
        ("", -1, -1),
        (MESSAGES, 1, 0),
        (MESSAGES, 1, 2),
        (MESSAGES, 1, 3),
        (REJECTED, 0, 1),
        (REJECTED, 0, 2),
    ]
