"""What ClickHouse refuses is kept with its own words, and the rest goes on."""

from __future__ import annotations

from base64 import b64decode

from gateway.postback import REJECTED, SENT, encode
from streams.message import MESSAGES, encode_message, state_of
from tests.support.postbacks import MESSAGE, at, sent
from tests.support.sinks import all_stored, as_messages, make_topics, open_sink, rows, send, worker_of

POISON: dict[str, bytes] = {
    "no JSON": b"nope",
    "nothing": b"",
    "an empty object": b"{}",
    "an array": b"[1]",
    "a cut-off text": b'{"event_id":"abc',
    "not UTF-8": b'{"event_id":"\xff"}',
    "not UTF-8, and an id that is none": encode(sent()).replace(MESSAGE.encode(), b"\xff\xfe"),
    "two objects": encode(sent("x")) + encode(sent("y")),
    "an object, and one that is none": encode(sent("x")) + b'{"a":1}',
    "an unknown type": encode(sent()).replace(b'"type":"sent"', b'"type":"called"'),
    "no message": encode(sent()).replace(b"message_id", b"massage_id"),
    "no time": encode(sent()).replace(b'"received_at":"2', b'"received_at":"x'),
    "a huge number for a time": encode(sent()).replace(b'"received_at":"', b'"received_at":1e400,"x":"'),
    "coordinates of its own": encode(sent())[:-1] + b',"cluster":"mine"}',
    "too deep": b'{"x":' + b"[" * 50_000 + b"}",
}


async def test_a_row_that_clickhouse_refuses_is_kept_with_its_words_and_the_others_go_on(
    fresh_kafka: str, database: str
) -> None:
    await make_topics(fresh_kafka)
    good = [sent(f"good-{n}") for n in range(40)]
    mixed = [encode(postback) for postback in good]
    for place, bad in enumerate(POISON.values()):
        mixed.insert(place * 2 + 1, bad)
    await send(fresh_kafka, SENT, *mixed)
    with open_sink(fresh_kafka, database) as sink:
        await all_stored(fresh_kafka)
        assert sink.metric("refused_total") == len(POISON)
    stored = rows(database, "SELECT DISTINCT event_id FROM postbacks")
    assert {row["event_id"] for row in stored} == {postback.event_id for postback in good}
    kept = rows(database, "SELECT * FROM rejected FINAL ORDER BY offset")
    for row, (name, bad) in zip(kept, POISON.items(), strict=True):
        assert row["reason"].startswith("Code: "), name
        assert mixed[row["offset"]] == bad
        assert (row["body"].encode() or b64decode(row["body_base64"])) == bad, name
        assert (row["stage"], row["topic"], row["partition"], row["key"]) == ("sinks", SENT, 0, "k")


async def test_refusing_the_same_row_again_adds_nothing(fresh_kafka: str, database: str) -> None:
    await make_topics(fresh_kafka)
    await send(fresh_kafka, SENT, b"nope")
    for group in ("once", "again"):
        async with worker_of(fresh_kafka, database, group):
            await all_stored(fresh_kafka, group)
    assert len(rows(database, "SELECT * FROM rejected")) == 2
    assert len(rows(database, "SELECT * FROM rejected FINAL")) == 1


async def test_many_refused_rows_are_all_found(fresh_kafka: str, database: str) -> None:
    await make_topics(fresh_kafka)
    good = [sent(f"good-{n}") for n in range(2_000)]
    values = [b"nope" if n % 7 == 0 else encode(postback) for n, postback in enumerate(good)]
    await send(fresh_kafka, SENT, *values)
    with open_sink(fresh_kafka, database):
        await all_stored(fresh_kafka)
    assert rows(database, "SELECT count() AS rows FROM rejected FINAL") == [{"rows": values.count(b"nope")}]
    stored = rows(database, "SELECT event_id FROM postbacks FINAL")
    assert sorted(row["event_id"] for row in stored) == sorted(
        postback.event_id for n, postback in enumerate(good) if n % 7
    )


async def test_poison_among_messages_and_rejections_is_refused_likewise(
    fresh_kafka: str, database: str
) -> None:
    await make_topics(fresh_kafka)
    state, rejected = (
        encode_message(state_of(sent())),
        b'{"rejection_id":"1","reason":"r","received_at":"%s"}',
    )
    rejected = rejected % at(0).encode()
    await send(fresh_kafka, MESSAGES, b"nope", state, state + state, b'{"version":1}', partition=1)
    await send(fresh_kafka, REJECTED, rejected, b"nope", rejected + rejected)
    with open_sink(fresh_kafka, database):
        await all_stored(fresh_kafka)
    assert list(as_messages(database)) == [MESSAGE]
    kept = rows(
        database, "SELECT topic, partition, offset, records FROM rejected FINAL ORDER BY topic, offset"
    )
    assert [(row["topic"], row["partition"], row["offset"]) for row in kept] == [
        ("", -1, -1),
        (MESSAGES, 1, 0),
        (MESSAGES, 1, 2),
        (MESSAGES, 1, 3),
        (REJECTED, 0, 1),
        (REJECTED, 0, 2),
    ]
