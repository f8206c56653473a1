"""Automatic responses from ClickHouse: those whose outcome is unknown, and those about a message."""

from __future__ import annotations

from msgspec import Struct

from gateway.postback import Guid, Time
from operations.rows import Query, read_rows
from runtime.clickhouse.sql import quote
from streams.auto_response import REFERENCE, Outcome

#: Minutes after which an intent without an outcome is listed: its process records one within a minute.
UNRESOLVED_MINUTES = 2


class UnknownResponse(Struct, kw_only=True, frozen=True):
    """An answer that the provider may have queued or not."""

    at: Time
    account: str
    number: str
    rule: str
    #: ReferenceID of the answer: its postbacks have it.
    reference: str
    detail: str


class LinkedResponse(Struct, kw_only=True, frozen=True):
    """An automatic response to a message, or one that is a message."""

    account: str
    #: Of its first record, and of the one that counts.
    decided_at: Time
    at: Time
    rule: str
    outcome: Outcome
    reason: str
    error: str
    answered_message_id: Guid
    message_id: Guid | None


def list_unknown(query: Query) -> list[UnknownResponse]:
    """Automatic responses with an unknown outcome, oldest first.

    Raises:
        QueryFailed: with ClickHouse's own text.
    """
    return read_rows(
        query,
        UnknownResponse,
        f"SELECT at, account, number, rule, concat({quote(REFERENCE)}, attempt) AS reference, detail "
        "FROM auto_response_outcomes WHERE outcome = 'unknown' "
        f"OR (outcome = 'intent' AND at < now() - INTERVAL {UNRESOLVED_MINUTES} MINUTE) "
        "ORDER BY at, event_id",
    )


def list_linked(query: Query, message_id: Guid) -> list[LinkedResponse]:
    """Automatic responses to a message, and the one that is this message; those declined are left out.

    Raises:
        QueryFailed: with ClickHouse's own text.
    """
    guid = quote(message_id)
    # The view joins all records of an event, so the events are found first, with the indexes of the table.
    return read_rows(
        query,
        LinkedResponse,
        "SELECT account, decided_at, at, rule, outcome, reason, error, answered_message_id, message_id "
        "FROM auto_response_outcomes WHERE outcome != 'declined' AND (account, event_id) IN "
        "(SELECT account, event_id FROM auto_responses "
        f"WHERE answered_message_id = {guid} OR message_id = {guid}) ORDER BY decided_at, event_id",
    )
