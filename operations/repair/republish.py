"""Publishes events again that are in no message."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.rejected import NotAPostback
from operations.progress import Advance
from operations.reconcile.events import STREAMS_REJECTED
from operations.repair.report import RepairReport
from operations.repair.stored_events import ParsedDifferently, StoredEvent, StoredPostback, StoredSubmission
from operations.replay.publish import Publish, page_size, publish_page
from operations.replay.stored_request import ReplayedRecord
from operations.rows import Query, read_rows
from runtime.batched import batched
from runtime.clickhouse.sql import quote

#: Messages in one query, and records published per second at most, as live traffic comes first.
QUERY_BATCH, RATE = 500, 1_000.0


#: The tables of events, and what is read of their rows.
TABLES: dict[str, type[StoredPostback | StoredSubmission]] = {
    "postbacks": StoredPostback,
    "submissions": StoredSubmission,
}


@dataclass(frozen=True)
class Wanted:
    """Which events to publish: these, and all of these messages."""

    events: Collection[str]
    messages: Collection[bytes]
    #: The ids of all messages concerned.
    message_ids: Collection[str]

    def covers(self, event: StoredEvent) -> bool:
        return event.event_id in self.events or event.key in self.messages


async def publish_again(
    query: Query, publish: Publish, wanted: Wanted, report: RepairReport, advance: Advance
) -> set[str]:
    """Publish the wanted events in ClickHouse, once for each time they were received.

    Messages that have none are reported as lost, and requests that do not parse to the same event.

    Returns:
        The ids of the events published.

    Raises:
        QueryFailed: no answer. Errors of `publish` are raised, too.
    """
    published: set[str] = set()
    without_events = set(wanted.messages)
    for ids in batched(wanted.message_ids, QUERY_BATCH):
        for table in TABLES:
            stored = await asyncio.to_thread(_read, query, table, ids)
            without_events -= {event.key for event in stored}
            records = list(_records(filter(wanted.covers, stored), report, published))
            for page in batched(records, page_size(RATE)):
                await publish_page(page, publish, RATE)
                for record in page:
                    report.on_published(record.topic)
        advance(len(ids))
    for key in sorted(without_events):
        why = "Kafka has no state of it, and ClickHouse neither a postback nor a submission"
        report.lose(f"message {key.decode(errors='replace')}", why)
    return published


def _records(
    events: Iterable[StoredEvent], report: RepairReport, published: set[str]
) -> Iterator[ReplayedRecord]:
    for event in events:
        try:
            yield event.record_again()
            published.add(event.event_id)
        except NotAPostback as error:
            report.lose(_describe(event), f"its request does not parse any more: {error.reason}")
        except ParsedDifferently:
            report.lose(_describe(event), "its request parses to another event now")


def _describe(event: StoredEvent) -> str:
    return f"{event.type} {event.event_id} of message {event.key.decode()}"


def _read(
    query: Query, table: str, message_ids: Iterable[str]
) -> Sequence[StoredPostback | StoredSubmission]:
    """The messages' events in a table, without those that streams rejected, once for each time they came."""
    ids = ",".join(f"toUUID({quote(message_id)})" for message_id in message_ids)
    row = TABLES[table]
    return read_rows(
        query,
        row,
        f"SELECT DISTINCT {', '.join(row.__struct_fields__)} FROM {table} WHERE message_id IN ({ids}) "
        f"AND (cluster, topic, `partition`, `offset`) NOT IN {STREAMS_REJECTED} "
        "ORDER BY received_at, event_id",
    )
