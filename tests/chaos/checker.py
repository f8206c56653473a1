"""Compares what was acknowledged with what Kafka and ClickHouse have, and both with two plain folds.

Lost: a postback got a 2xx, and it is not in ClickHouse. Doubled: an exact count is off, that is, ClickHouse
counts an event or a record that Kafka does not have, or counts fewer. Wrong: a message is not what the fold
over the postbacks in Kafka says, or there are not as many messages of a status as the simulator says, which
knows what it posted and nothing of the pipeline.

A postback is its body, which comes through as it was posted; only the digest of it is held.
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

from gateway.postback import POSTBACK_TOPICS, REJECTED, decode, format_time
from streams.expiry import mark_overdue
from streams.message import MESSAGES, Message, decode_message, encode_message, join, merge
from tests.chaos.readback import Digest, digest_of, read, read_messages, stored_bodies

Say = Callable[[str], None]


@dataclass
class Posted:
    """What was posted, and what came of it, as those who posted know."""

    #: Of all bodies, answered or not.
    attempted: set[Digest] = field(default_factory=set)
    #: Of those that got a 2xx.
    acknowledged: set[Digest] = field(default_factory=set)
    #: Messages that those are about by status.
    statuses: Counter[str] = field(default_factory=Counter)


@dataclass
class CheckResult:
    """What was found; `lost`, `doubled` and `wrong` say what in words, and must be empty."""

    records: int = 0
    events: int = 0
    messages: int = 0
    overdue: int = 0
    #: Records of `messages` whose last one is not the whole state: a zombie's, healed by joining.
    stale: int = 0
    lost: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def lines(self) -> Iterator[str]:
        """All that is not as it must be."""
        yield from (f"lost: {what}" for what in sorted(self.lost))
        yield from (f"doubled: {what}" for what in sorted(self.doubled))
        yield from (f"wrong: {key}: {difference}" for key, difference in sorted(self.wrong.items()))


async def judge(
    kafka: str, clickhouse: str, posted: Posted, overdue_after: timedelta, say: Say
) -> CheckResult:
    """Read everything there is, once nothing moves any more. `say` hears what is looked at."""
    verdict = CheckResult()
    with _without_garbage_collection():
        say("judging: folding what is in Kafka")
        in_kafka, folded = await _fold(kafka, overdue_after, verdict)
        verdict.doubled |= _named(in_kafka - posted.attempted, "in Kafka, never posted")

        say("judging: asking ClickHouse for its postbacks")
        client = clickhouse_connect.get_client(dsn=clickhouse, send_receive_timeout=600)
        stored = stored_bodies(client)
        verdict.lost |= _named(posted.acknowledged - stored, "not in ClickHouse")
        verdict.doubled |= _named(stored - in_kafka, "in ClickHouse, not in Kafka")
        _count(client, verdict)
        await _demand_no_rejections(kafka, client, verdict)

        say("judging: joining the states in Kafka")
        joined, verdict.stale = await join_messages(kafka, folded)
        _compare("Kafka", folded, joined, verdict)
        joined.clear()
        say("judging: asking ClickHouse for its messages")
        _compare("ClickHouse", folded, dict(read_messages(client)), verdict)
        _compare_statuses(client, posted, verdict)
    return verdict


async def _fold(
    kafka: str, overdue_after: timedelta, verdict: CheckResult
) -> tuple[set[Digest], dict[bytes, bytes]]:
    """The bodies in Kafka, and what their messages should be by now, encoded."""
    bodies, events, folded = set[Digest](), set[str](), dict[bytes, Message]()
    async for record in read(kafka, POSTBACK_TOPICS):
        postback = decode(record.topic, record.value)
        bodies.add(digest_of(postback.body.encode()))
        events.add(postback.event_id)
        folded[record.key] = merge(folded.get(record.key), postback)
        verdict.records += 1
    verdict.events, verdict.messages = len(events), len(folded)
    if len(events) != len(bodies):
        verdict.doubled.add(f"{len(events)} event ids of {len(bodies)} different bodies")
    now = format_time(datetime.now(UTC))
    judged = {key: mark_overdue(message, overdue_after, now) for key, message in folded.items()}
    verdict.overdue = sum(message.overdue_at is not None for message in judged.values())
    return bodies, {key: encode_message(message) for key, message in judged.items()}


def _named(digests: set[Digest], what: str) -> set[str]:
    return {f"{digest.hex()} (MD5 of its body) {what}" for digest in digests}


def _count(client: Client, verdict: CheckResult) -> None:
    """The exact counts that people ask for, before and after the engine has merged its parts."""
    for moment in ("before merges", "after merges"):
        for what, query, expected in (
            ("records", "SELECT count() FROM postbacks FINAL", verdict.records),
            ("events", "SELECT count() FROM events", verdict.events),
            ("messages", "SELECT count() FROM messages", verdict.messages),
        ):
            if (counted := client.command(query)) != expected:
                verdict.doubled.add(f"{counted} {what} in ClickHouse {moment}, {expected} in Kafka")
        client.command("OPTIMIZE TABLE postbacks FINAL")
        client.command("OPTIMIZE TABLE message_states FINAL")


async def _demand_no_rejections(kafka: str, client: Client, verdict: CheckResult) -> None:
    """Nothing was posted that anybody may reject."""
    async for record in read(kafka, [REJECTED]):
        verdict.lost.add(f"rejected: {record.value[:300]!r}")
    for row in client.query("SELECT stage, reason, body FROM rejected LIMIT 1000").result_rows:
        verdict.lost.add(f"rejected: {row}")


def _compare(
    where: str, want: Mapping[bytes, bytes], got: Mapping[bytes, bytes], verdict: CheckResult
) -> None:
    for key in want.keys() | got.keys():
        expected, found = want.get(key), got.get(key)
        if expected is None or found != expected:
            verdict.wrong[f"{where} {key.decode()}"] = f"{expected!r}\n  is {found!r}"


def _compare_statuses(client: Client, posted: Posted, verdict: CheckResult) -> None:
    """With the simulator's own fold, which knows nothing of ours; it knows only what it was answered."""
    if posted.attempted != posted.acknowledged:
        return
    rows = client.query("SELECT status::String, count() FROM messages GROUP BY status").result_rows
    found = Counter[str]()
    for status, count in rows:
        found[status] += count
    if found != posted.statuses:
        verdict.wrong["by status"] = f"{sorted(posted.statuses.items())}\n  is {sorted(found.items())}"


async def join_messages(kafka: str, folded: Mapping[bytes, bytes]) -> tuple[dict[bytes, bytes], int]:
    """The states in `messages` as readers should join them, and for how many keys the last one is stale."""
    joined: dict[bytes, bytes] = {}
    last: dict[bytes, bytes | None] = {}
    async for record in read(kafka, [MESSAGES]):
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
    """Millions of objects without a cycle would be walked through again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
