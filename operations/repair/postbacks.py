"""Publishes postbacks again that are in no message, through the replay's parser."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from gateway.postback import decode, key_of
from gateway.rejected import NotAPostback
from operations.progress import Advance
from operations.reconcile.events import STREAMS_REJECTED
from operations.repair.report import RepairReport
from operations.replay.publish import Publish, page_size, publish_page
from operations.replay.stored_request import ReplayedRecord, StoredRequest, record_of
from operations.rows import Query, read_rows
from runtime.batched import batched
from runtime.clickhouse.sql import quote

#: Messages in one query, and records published per second at most, as live traffic comes first.
QUERY_BATCH, RATE = 500, 1_000.0


class StoredPostback(StoredRequest, frozen=True, kw_only=True):
    """A row of `postbacks`: its request, and what it was parsed to."""

    event_id: str
    message_id: str
    type: str

    @property
    def key(self) -> bytes:
        return key_of(self.account, self.message_id)


class ParsedDifferently(Exception):
    """This version parses the request to another event than the stored one."""


@dataclass(frozen=True)
class Wanted:
    """Which postbacks to publish: these events, and all of these messages."""

    events: Collection[str]
    messages: Collection[bytes]
    #: The ids of all messages concerned.
    message_ids: Collection[str]

    def covers(self, postback: StoredPostback) -> bool:
        return postback.event_id in self.events or postback.key in self.messages


async def publish_again(
    query: Query, publish: Publish, wanted: Wanted, report: RepairReport, advance: Advance
) -> set[str]:
    """Publish the wanted postbacks in ClickHouse, once for each time they were received.

    Messages that have none are reported as lost, and requests that do not parse to the same event.

    Returns:
        The ids of the events published.

    Raises:
        QueryFailed: no answer. Errors of `publish` are raised, too.
    """
    published: set[str] = set()
    without_postbacks = set(wanted.messages)
    for ids in batched(wanted.message_ids, QUERY_BATCH):
        stored = await asyncio.to_thread(_read, query, ids)
        without_postbacks -= {postback.key for postback in stored}
        records = list(_records(filter(wanted.covers, stored), report, published))
        for page in batched(records, page_size(RATE)):
            await publish_page(page, publish, RATE)
            for record in page:
                report.on_published(record.topic)
        advance(len(ids))
    for key in sorted(without_postbacks):
        why = "Kafka has no state of it, and ClickHouse no postback"
        report.lose(f"message {key.decode(errors='replace')}", why)
    return published


def record_again(postback: StoredPostback) -> ReplayedRecord:
    """The record of a stored postback, as the gateway would publish it now.

    Raises:
        NotAPostback, ParsedDifferently: it would not be the same event of the same message.
    """
    record = record_of(postback)
    again = decode(record.topic, record.value)
    if (record.key, again.event_id, type(again).__struct_config__.tag) != (
        postback.key,
        postback.event_id,
        postback.type,
    ):
        raise ParsedDifferently
    return record


def _records(
    postbacks: Iterable[StoredPostback], report: RepairReport, published: set[str]
) -> Iterator[ReplayedRecord]:
    for postback in postbacks:
        try:
            yield record_again(postback)
            published.add(postback.event_id)
        except NotAPostback as error:
            report.lose(_describe(postback), f"its request does not parse any more: {error.reason}")
        except ParsedDifferently:
            report.lose(_describe(postback), "its request parses to another event now")


def _describe(postback: StoredPostback) -> str:
    return f"{postback.type} {postback.event_id} of message {postback.key.decode()}"


def _read(query: Query, message_ids: Iterable[str]) -> list[StoredPostback]:
    """The messages' postbacks, without those that streams rejected, each once for each time it came."""
    ids = ",".join(f"toUUID({quote(message_id)})" for message_id in message_ids)
    fields = ", ".join(StoredPostback.__struct_fields__)
    return read_rows(
        query,
        StoredPostback,
        f"SELECT {fields} FROM postbacks WHERE message_id IN ({ids}) "
        f"AND (cluster, topic, `partition`, `offset`) NOT IN {STREAMS_REJECTED} "
        "ORDER BY received_at, event_id LIMIT 1 BY received_at, event_id, account",
    )
