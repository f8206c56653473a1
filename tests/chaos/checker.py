"""Compares what was acknowledged with Kafka and ClickHouse, and both with two independent folds.

Lost: a postback got a 2xx and is not in ClickHouse. Duplicated: an exact count is wrong, that is, ClickHouse
counts an event or a record that Kafka does not have, or counts too few. Wrong: a message differs from the
fold over the postbacks in Kafka, or the number of messages of a status differs from the simulator's own fold,
which knows what was posted and nothing about the pipeline.

A postback is identified by its body, which passes through unchanged; only its digest is kept in memory.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from gateway.postback import POSTBACK_TOPICS, decode, format_time
from gateway.rejected import REJECTED
from streams.expiry import mark_overdue
from streams.message import MESSAGES, Message, decode_message, encode_message, join, merge
from tests.chaos.readback import Digest, digest_of, read_messages, read_records, stored_bodies

Log = Callable[[str], None]


@dataclass
class Posted:
    """What the simulated provider posted, and which of it was acknowledged."""

    #: Digests of all bodies.
    attempted: set[Digest] = field(default_factory=set)
    #: Digests of those that got a 2xx.
    acknowledged: set[Digest] = field(default_factory=set)
    #: Expected number of messages by status.
    statuses: Counter[str] = field(default_factory=Counter)


@dataclass
class CheckResult:
    """Counts, and the findings in words: `lost`, `duplicated` and `wrong` must be empty."""

    records: int = 0
    events: int = 0
    messages: int = 0
    overdue: int = 0
    #: Keys of `messages` whose last record is not the complete state: a zombie's, corrected by joining.
    stale: int = 0
    lost: set[str] = field(default_factory=set)
    duplicated: set[str] = field(default_factory=set)
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not (self.lost or self.duplicated or self.wrong)

    def lines(self) -> Iterator[str]:
        """Yield a line per finding."""
        yield from (f"lost: {finding}" for finding in sorted(self.lost))
        yield from (f"duplicated: {finding}" for finding in sorted(self.duplicated))
        yield from (f"wrong: {key}: {difference}" for key, difference in sorted(self.wrong.items()))


async def check(
    kafka: str, clickhouse: str, posted: Posted, overdue_after: timedelta, log: Log
) -> CheckResult:
    """Read Kafka and ClickHouse completely and compare them; the pipeline must be quiescent."""
    result = CheckResult()
    with _without_garbage_collection():
        log("check: folding the postbacks in Kafka")
        in_kafka, folded = await _fold(kafka, overdue_after, result)
        result.duplicated |= _findings(in_kafka - posted.attempted, "in Kafka, never posted")

        log("check: reading the postbacks in ClickHouse")
        client = clickhouse_connect.get_client(dsn=clickhouse, send_receive_timeout=600)
        stored = stored_bodies(client)
        result.lost |= _findings(posted.acknowledged - stored, "not in ClickHouse")
        result.duplicated |= _findings(stored - in_kafka, "in ClickHouse, not in Kafka")
        _compare_counts(client, result)
        await _require_no_rejections(kafka, client, result)

        log("check: joining the states in Kafka")
        joined, result.stale = await join_messages(kafka, folded)
        _compare_messages("Kafka", folded, joined, result)
        joined.clear()
        log("check: reading the messages in ClickHouse")
        _compare_messages("ClickHouse", folded, dict(read_messages(client)), result)
        _compare_statuses(client, posted, result)
    return result


async def _fold(
    kafka: str, overdue_after: timedelta, result: CheckResult
) -> tuple[set[Digest], dict[bytes, bytes]]:
    """Return the bodies in Kafka, and the messages that must result from them by now, encoded."""
    bodies, events, folded = set[Digest](), set[str](), dict[bytes, Message]()
    async for record in read_records(kafka, POSTBACK_TOPICS):
        postback = decode(record.topic, record.value)
        bodies.add(digest_of(postback.body.encode()))
        events.add(postback.event_id)
        folded[record.key] = merge(folded.get(record.key), postback)
        result.records += 1
    result.events, result.messages = len(events), len(folded)
    if len(events) != len(bodies):
        result.duplicated.add(f"{len(events)} event ids of {len(bodies)} different bodies")
    now = format_time(datetime.now(UTC))
    expected = {key: mark_overdue(message, overdue_after, now) for key, message in folded.items()}
    result.overdue = sum(message.overdue_at is not None for message in expected.values())
    return bodies, {key: encode_message(message) for key, message in expected.items()}


def _findings(digests: set[Digest], problem: str) -> set[str]:
    return {f"{digest.hex()} (MD5 of its body) {problem}" for digest in digests}


def _compare_counts(client: Client, result: CheckResult) -> None:
    """Compare the exact counts that users query, before and after ClickHouse has merged its parts."""
    for moment in ("before merges", "after merges"):
        for counted, query, expected in (
            ("records", "SELECT count() FROM postbacks FINAL", result.records),
            ("events", "SELECT count() FROM events", result.events),
            ("messages", "SELECT count() FROM messages", result.messages),
        ):
            if (count := client.command(query)) != expected:
                result.duplicated.add(f"{count} {counted} in ClickHouse {moment}, {expected} in Kafka")
        client.command("OPTIMIZE TABLE postbacks FINAL")
        client.command("OPTIMIZE TABLE message_states FINAL")


async def _require_no_rejections(kafka: str, client: Client, result: CheckResult) -> None:
    """Report all rejections as lost: every postback that was posted is valid."""
    async for record in read_records(kafka, [REJECTED]):
        result.lost.add(f"rejected: {record.value[:300]!r}")
    for row in client.query("SELECT stage, reason, body FROM rejected LIMIT 1000").result_rows:
        result.lost.add(f"rejected: {row}")


def _compare_messages(
    source: str, expected: Mapping[bytes, bytes], actual: Mapping[bytes, bytes], result: CheckResult
) -> None:
    for key in expected.keys() | actual.keys():
        if key not in expected or actual.get(key) != expected[key]:
            result.wrong[f"{source} {key.decode()}"] = f"{expected.get(key)!r}\n  is {actual.get(key)!r}"


def _compare_statuses(client: Client, posted: Posted, result: CheckResult) -> None:
    """Compare with the simulator's fold, which is complete only if everything was acknowledged."""
    if posted.attempted != posted.acknowledged:
        return
    rows = client.query("SELECT status::String, count() FROM messages GROUP BY status").result_rows
    actual = Counter[str]()
    for status, count in rows:
        actual[status] += count
    if actual != posted.statuses:
        result.wrong["by status"] = f"{sorted(posted.statuses.items())}\n  is {sorted(actual.items())}"


async def join_messages(kafka: str, folded: Mapping[bytes, bytes]) -> tuple[dict[bytes, bytes], int]:
    """Join the records of each key of `messages`, as consumers should; count keys whose last one is stale."""
    joined: dict[bytes, bytes] = {}
    last: dict[bytes, bytes | None] = {}
    async for record in read_records(kafka, [MESSAGES]):
        key, value = record.key, record.value
        last[key] = value
        if value is None:
            joined.pop(key, None)
            continue
        known = joined.get(key)
        if known is None:
            joined[key] = encode_message(decode_message(value))
        elif known != value:
            joined[key] = encode_message(join(decode_message(known), decode_message(value)))
    stale = sum(key in last and last[key] != state for key, state in folded.items())
    return joined, stale


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable the collector, which would traverse millions of objects without cycles over and over."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
