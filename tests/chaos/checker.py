"""Compares what was acknowledged with Kafka and ClickHouse, and both with two independent folds.

Lost: a postback or submission got a 2xx and is not in ClickHouse. Duplicated: an exact count is wrong, that
is, ClickHouse counts an event or a record that Kafka does not have, or counts too few. Wrong: a message
differs from the fold over the events in Kafka, or its status, error or time of submission differ from what
follows from the posts alone, by a fold that knows nothing about the pipeline. Contacts and their verdicts are
compared with both folds, too.

A postback is identified by its body, and a submission by the answer, which pass through unchanged; only their
digests are kept in memory.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from gateway.rejected import REJECTED
from streams.state.spec import TableSpec
from streams.tables import CONTACTS_TABLE, MESSAGES_TABLE
from tests.chaos.contact_check import ContactCheck, ContactFindings
from tests.chaos.fold import Folded, Limits, fold_records
from tests.chaos.posted import Posted
from tests.chaos.readback import Digest, read_messages, read_records, stored_bodies
from tests.chaos.status_check import compare_with_posts

Log = Callable[[str], None]


@dataclass
class CheckResult:
    """Counts, and the findings in words, which must be empty."""

    records: int = 0
    events: int = 0
    submissions: int = 0
    messages: int = 0
    contacts: int = 0
    overdue: int = 0
    unsent: int = 0
    #: Keys of both changelogs whose last record is not the complete state: a zombie's, corrected by joining.
    stale: int = 0
    lost: set[str] = field(default_factory=set)
    duplicated: set[str] = field(default_factory=set)
    wrong: dict[str, str] = field(default_factory=dict)
    contact_findings: ContactFindings = field(default_factory=ContactFindings)

    @property
    def passed(self) -> bool:
        return not (self.lost or self.duplicated or self.wrong or self.contact_findings)

    def lines(self) -> Iterator[str]:
        """Yield a line per finding."""
        yield from (f"lost: {finding}" for finding in sorted(self.lost))
        yield from (f"duplicated: {finding}" for finding in sorted(self.duplicated))
        yield from (f"wrong: {key}: {difference}" for key, difference in sorted(self.wrong.items()))
        yield from self.contact_findings.lines()


async def check(kafka: str, clickhouse: str, posted: Posted, limits: Limits, log: Log) -> CheckResult:
    """Read Kafka and ClickHouse completely and compare them; the pipeline must be quiescent."""
    with _without_garbage_collection():
        log("check: folding the events in Kafka")
        folded = await fold_records(kafka, limits)
        result = CheckResult(
            records=folded.postbacks.records,
            events=len(folded.postbacks.events),
            submissions=len(folded.submissions.events),
            messages=len(folded.messages),
            contacts=len(folded.contacts),
            overdue=folded.overdue,
            unsent=folded.unsent,
        )

        expected = posted.contacts.contacts(folded.received_at) if posted.is_complete else None
        contacts = ContactCheck(folded.contacts, expected)
        result.contact_findings = contacts.findings

        log("check: reading the events in ClickHouse")
        client = clickhouse_connect.get_client(dsn=clickhouse, send_receive_timeout=600)
        _compare_bodies(client, posted, folded, result)
        _compare_stored(client, "before merges", folded, contacts, result)
        for table in ("postbacks", "submissions", "message_states", "contact_states"):
            client.command(f"OPTIMIZE TABLE {table} FINAL")
        _compare_stored(client, "after merges", folded, contacts, result)
        await _require_no_rejections(kafka, client, result)

        log("check: joining the states in Kafka")
        joined, stale = await join_states(kafka, MESSAGES_TABLE, folded.messages)
        joined_contacts, stale_contacts = await join_states(kafka, CONTACTS_TABLE, folded.contacts)
        result.stale = stale + stale_contacts
        contacts.compare_states("Kafka", joined_contacts)
        for source, messages in (("Kafka", joined), ("ClickHouse", dict(read_messages(client)))):
            log(f"check: comparing the messages in {source}")
            _compare_messages(source, folded.messages, messages, result)
            if posted.is_complete:
                wrong = compare_with_posts(messages, posted.expected, folded.submitted_at)
                result.wrong |= {f"{source} {key}, by the posts": found for key, found in wrong.items()}
    return result


def _compare_bodies(client: Client, posted: Posted, folded: Folded, result: CheckResult) -> None:
    for table, bodies, recorded in (
        ("postbacks", posted.postbacks, folded.postbacks),
        ("submissions", posted.submissions, folded.submissions),
    ):
        stored = stored_bodies(client, table)
        result.duplicated |= _findings(recorded.bodies - bodies.attempted, table, "in Kafka, never posted")
        result.lost |= _findings(bodies.acknowledged - stored, table, "not in ClickHouse")
        result.duplicated |= _findings(stored - recorded.bodies, table, "in ClickHouse, not in Kafka")
        if (events := len(recorded.events)) != len(recorded.bodies):
            result.duplicated.add(f"{table}: {events} event ids of {len(recorded.bodies)} different bodies")


def _findings(digests: set[Digest], table: str, problem: str) -> set[str]:
    return {f"{table}: {digest.hex()} (MD5 of its body) {problem}" for digest in digests}


def _compare_stored(
    client: Client, moment: str, folded: Folded, contacts: ContactCheck, result: CheckResult
) -> None:
    """Compare contacts, and the exact counts that users query."""
    contacts.compare_stored(client, moment)
    for counted, query, expected in (
        ("records", "SELECT count() FROM postbacks FINAL", folded.postbacks.records),
        ("events", "SELECT count() FROM events", len(folded.postbacks.events)),
        ("submissions", "SELECT count() FROM submissions FINAL", folded.submissions.records),
        ("answers", "SELECT uniqExact(event_id) FROM submissions", len(folded.submissions.events)),
        ("messages", "SELECT count() FROM messages", len(folded.messages)),
    ):
        if (count := client.command(query)) != expected:
            result.duplicated.add(f"{count} {counted} in ClickHouse {moment}, {expected} in Kafka")


async def _require_no_rejections(kafka: str, client: Client, result: CheckResult) -> None:
    """Report all rejections as lost: everything that was posted is valid."""
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


async def join_states(
    kafka: str, table: TableSpec, folded: Mapping[bytes, bytes]
) -> tuple[dict[bytes, bytes], int]:
    """Join the records of each key of a changelog, as consumers should; count keys whose last is stale."""
    joined: dict[bytes, bytes] = {}
    last: dict[bytes, bytes | None] = {}
    async for record in read_records(kafka, [table.topic]):
        key, value = record.key, record.value
        last[key] = value
        if value is None:
            joined.pop(key, None)
        elif (known := joined.get(key)) != value:
            joined[key] = table.join(known, value)
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
