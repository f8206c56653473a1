"""What each side knows about the automatic responses of a run: Kafka, the provider's ledger, ClickHouse."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import NamedTuple

from gateway.postback import RESPONSE, Response, decode
from runtime.phone_number import canonical
from streams.auto_response import (
    AUTO_RESPONSES,
    REFERENCE,
    AutoResponse,
    decode_auto_response,
    join_auto_responses,
)
from streams.contact_event import CONTACT_EVENTS, decode_contact_event
from tests.chaos.readback import Digest, digest_of, read_records
from tests.chaos.respond_expected import Written
from tests.support.sinks import rows


class LedgerRow(NamedTuple):
    """A row of the provider's ledger, whose columns it has."""

    reference_id: str
    to_number: str
    text: str
    message_id: str | None
    error: int
    dropped: int


class Statement(NamedTuple):
    """A record of `contact_events`."""

    #: When the leader appended it, in milliseconds.
    appended: int
    #: By the provider's clock if known, and the event.
    said_at: str
    event_id: str
    signal: str


class Recorded(NamedTuple):
    """A record of `auto_responses`."""

    partition: int
    appended: int
    record: AutoResponse


@dataclass(frozen=True)
class Sides:
    """What each side knows."""

    responses: Sequence[Written]
    #: Digests of the bodies of the responses in Kafka.
    bodies: frozenset[Digest]
    #: By handset.
    statements: Mapping[str, Sequence[Statement]]
    #: By event, in the order of the topic.
    records: Mapping[str, Sequence[Recorded]]
    ledger: Sequence[LedgerRow]
    #: Outcomes in ClickHouse, by event.
    stored: Mapping[str, str]
    #: ReferenceIDs that `postbacks respond --unknown` lists.
    listed: Sequence[str]

    def outcomes(self) -> dict[str, AutoResponse]:
        """The joined record of each event."""
        return {
            event_id: reduce(join_auto_responses, (each.record for each in found))
            for event_id, found in self.records.items()
        }


async def read_sides(kafka: str, clickhouse: str, ledger: Path, listing: str) -> Sides:
    """Read everything; nothing may be written meanwhile.

    Args:
        listing: what `postbacks respond --unknown` printed, tab-separated.
    """
    responses: dict[str, Written] = {}
    bodies: set[Digest] = set()
    async for record in read_records(kafka, [RESPONSE]):
        response = decode(RESPONSE, record.value)
        assert isinstance(response, Response)
        bodies.add(digest_of(response.body.encode()))
        responses.setdefault(response.event_id, _written(response))
    statements = defaultdict[str, list[Statement]](list)
    async for record in read_records(kafka, [CONTACT_EVENTS]):
        event = decode_contact_event(record.value)
        said_at = event.occurred_at or event.received_at
        statements[event.number].append(Statement(record.timestamp, said_at, event.event_id, event.signal))
    return Sides(
        list(responses.values()),
        frozenset(bodies),
        statements,
        await read_decisions(kafka),
        read_ledger(ledger),
        {
            row["event_id"]: row["outcome"]
            for row in rows(clickhouse, "SELECT event_id, outcome FROM auto_response_outcomes")
        },
        [row["reference"] for row in csv.DictReader(io.StringIO(listing), delimiter="\t")],
    )


async def read_decisions(kafka: str) -> dict[str, list[Recorded]]:
    """The records of `auto_responses` by event."""
    found = defaultdict[str, list[Recorded]](list)
    async for record in read_records(kafka, [AUTO_RESPONSES]):
        decision = decode_auto_response(record.value)
        found[decision.event_id].append(Recorded(record.partition, record.timestamp, decision))
    return found


def read_ledger(path: Path) -> list[LedgerRow]:
    with closing(sqlite3.connect(path)) as database:
        return [
            LedgerRow(*row) for row in database.execute(f"SELECT {', '.join(LedgerRow._fields)} FROM answers")
        ]


def reference_of(record: AutoResponse) -> str:
    return REFERENCE + record.attempt


def by_reference(ledger: Iterable[LedgerRow]) -> dict[str, list[LedgerRow]]:
    found = defaultdict[str, list[LedgerRow]](list)
    for row in ledger:
        found[row.reference_id].append(row)
    return found


def _written(response: Response) -> Written:
    return Written(
        response.event_id,
        canonical(response.from_number),
        canonical(response.to_number),
        response.text,
        response.matched,
        datetime.fromisoformat(response.received_at).timestamp(),
        response.occurred_at or response.received_at,
    )
