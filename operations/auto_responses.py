"""Automatic responses from ClickHouse: those whose outcome is unknown, and those about a message."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from gateway.postback import Guid, Time
from operations.rows import Query, read_rows, time
from runtime.clickhouse.sql import quote
from streams.auto_response import REFERENCE, Outcome, Reason

#: Minutes after which an intent without an outcome is listed: its process records one within a minute.
UNRESOLVED_MINUTES = 2


#: Why a response got no answer.
REASONS: dict[str, str] = {
    Reason.DRY_RUN: "it was a dry run",
    Reason.NOT_A_RESPONSE: "its SMSResponse is not 1",
    Reason.DUPLICATE: "the response was decided about before",
    Reason.TOO_OLD: "it came or was sent too long ago, or is dated in the future",
    Reason.NO_NUMBER: "the sender's number is unknown",
    Reason.SHORT_CODE: "the sender is a short code: its number has fewer than 7 digits",
    Reason.OWN_NUMBER: "the sender is one of your own numbers, which would be a loop",
    Reason.OPT_OUT: "the text opts out, and no rule confirms that",
    Reason.SUSPECTED: "the text may be an opt-out",
    Reason.CONTACT_OPTED_OUT: "the sender has opted out",
    Reason.CONTACT_SUSPECTED: "the sender may have opted out",
    Reason.NO_RULE: "no rule matches",
    Reason.PERIOD: "the rule has answered the sender within its period",
    Reason.DAILY_CAP: "the daily cap is reached",
    Reason.TOO_LONG: "the answer takes too many segments",
    Reason.NOT_STORED: "Kafka did not store that it would be sent",
    Reason.FENCED: "the process lost its partition",
    Reason.NOT_REACHED: "the provider could not be reached, or did not process the call",
}


def explain_reason(reason: str) -> str:
    """Why a response got no answer, for people; a newer version's reason as it is."""
    return REASONS.get(reason, reason.replace("_", " "))


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
    """What became of the automatic response to a message, or of the one that is a message."""

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


def list_unknown(query: Query, since: datetime | None = None) -> list[UnknownResponse]:
    """Automatic responses with an unknown outcome, oldest first.

    Args:
        since: only those attempted at this time or later.

    Raises:
        QueryFailed: with ClickHouse's own text.
    """
    attempted = f" AND at >= {time(since)}" if since else ""
    return read_rows(
        query,
        UnknownResponse,
        f"SELECT at, account, number, rule, concat({quote(REFERENCE)}, attempt) AS reference, detail "
        "FROM auto_response_outcomes WHERE (outcome = 'unknown' "
        f"OR (outcome = 'intent' AND at < now() - INTERVAL {UNRESOLVED_MINUTES} MINUTE)){attempted} "
        "ORDER BY at, event_id",
    )


def list_linked(query: Query, message_id: Guid) -> list[LinkedResponse]:
    """What became of the automatic responses to a message, and of the one that is this message.

    Raises:
        QueryFailed: with ClickHouse's own text.
    """
    guid = quote(message_id)
    # The view joins all records of an event, so the events are found first, with the indexes of the table.
    return read_rows(
        query,
        LinkedResponse,
        "SELECT account, decided_at, at, rule, outcome, reason, error, answered_message_id, message_id "
        "FROM auto_response_outcomes WHERE (account, event_id) IN "
        "(SELECT account, event_id FROM auto_responses "
        f"WHERE answered_message_id = {guid} OR message_id = {guid}) ORDER BY decided_at, event_id",
    )
