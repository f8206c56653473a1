"""The contract of `auto_responses`: decisions about automatic responses, intents to send one, and outcomes.

The key is that of the handset, account/number, so that all records about one are in one order. The decision
about a response (`event_id`) is declined, or an intent, which precedes the call of the provider. Only the
first record of an event may lead to a call, and only if it is an intent: so there is one call at most,
however many workers write. `join_auto_responses` is commutative, associative and idempotent, and ClickHouse
runs the same join (`sinks/schema`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, TypeAlias, get_args

from msgspec import DecodeError, Struct, json

from gateway.postback import (
    AccountName,
    EventId,
    Guid,
    ProviderTime,
    Time,
    invalid_time,
    is_provider_time,
    is_time,
    key_of,
)
from streams.versions import state_decoder

AUTO_RESPONSES = "auto_responses"
#: The format that this code writes. A worker rejects newer ones, as it might send what they forbid.
AUTO_RESPONSE_VERSION = 1

#: Ordered by rank: of several records of an event the highest counts.
Outcome: TypeAlias = Literal["declined", "intent", "unknown", "not_sent", "refused", "accepted"]
RANK: dict[Outcome, int] = {outcome: rank for rank, outcome in enumerate(get_args(Outcome))}

#: ReferenceID of an answer, before its attempt id: an unknown one can be found by it.
REFERENCE = "respond-"


class Reason(StrEnum):
    """Why a response is answered, or not. Others may be added."""

    ANSWER = "answer"
    #: It would have been answered, if POSTBACKS_RESPOND were on.
    DRY_RUN = "dry_run"
    #: Its SMSResponse is not 1.
    NOT_A_RESPONSE = "not_a_response"
    #: The event was decided about before.
    DUPLICATE = "duplicate"
    #: Received, or sent by its own time, more than ten minutes ago; or as much in the future.
    TOO_OLD = "too_old"
    #: It does not tell its sender's number.
    NO_NUMBER = "no_number"
    SHORT_CODE = "short_code"
    #: Its sender is one of our numbers.
    OWN_NUMBER = "own_number"
    #: Its text opts out, and no rule confirms that.
    OPT_OUT = "opt_out"
    #: Its text may be an opt-out.
    SUSPECTED = "suspected"
    CONTACT_OPTED_OUT = "contact_opted_out"
    CONTACT_SUSPECTED = "contact_suspected"
    #: No rule matches.
    NO_RULE = "no_rule"
    #: The handset had an answer of this rule within the rule's period.
    PERIOD = "period"
    DAILY_CAP = "daily_cap"
    #: With its placeholders filled in, the text takes too many segments.
    TOO_LONG = "too_long"
    #: The intent is not in the topic.
    NOT_STORED = "not_stored"
    #: The worker no longer, or not certainly, owns the partition.
    FENCED = "fenced"
    #: The provider could not be reached, or did not process the call: certainly nothing was queued.
    NOT_REACHED = "not_reached"


class AutoResponse(Struct, kw_only=True, omit_defaults=True, gc=False):
    """One record about one response. Null and empty fields are omitted from the JSON."""

    version: int
    #: Of the response.
    event_id: EventId
    account: AccountName
    #: The handset's, canonical: digits only, without the 1 of a US number; empty if unknown.
    number: str
    #: Ours, that the response was sent to; canonical.
    own_number: str = ""
    outcome: Outcome
    #: Of what is declined or not sent: see `Reason`.
    reason: str = ""
    #: More about the reason, for people.
    detail: str = ""
    #: Name of the rule; empty if none matches.
    rule: str = ""
    #: Of an intent and its outcomes: the date in the rule's time zone, to whose daily cap it counts.
    day: str = ""
    #: Random id of the intent, which its outcomes have, too.
    attempt: str = ""
    #: What is to be sent.
    text: str = ""
    #: Of the new message, if it was accepted.
    message_id: Guid | None = None
    #: Name of the SMSError, or its number if that is not listed, if it was refused.
    error: str = ""
    #: Of the message that the response is about; of an inbound message its own.
    answered_message_id: Guid
    #: The response's own, if it has one.
    reply_id: Guid | None = None
    #: When the response was sent, by the provider's clock; null if missing or unreadable.
    occurred_at: ProviderTime | None = None
    #: When the gateway received the response.
    received_at: Time
    #: When this was decided, or the outcome became known, by our clock.
    at: Time

    def precedence(self) -> tuple[Any, ...]:
        """Orders the records of an event: the least counts. Null compares as empty, as in ClickHouse."""
        return (
            -RANK[self.outcome],
            self.at,
            self.attempt,
            self.message_id or "",
            self.error,
            self.reason,
            self.detail,
            self.rule,
            self.day,
            self.text,
            self.number,
            self.own_number,
            self.answered_message_id,
            self.reply_id or "",
            self.occurred_at or "",
            self.received_at,
            self.version,
        )


encode_auto_response = json.Encoder().encode
_decode = state_decoder(AutoResponse, AUTO_RESPONSE_VERSION, "an automatic response")


def decode_auto_response(value: bytes) -> AutoResponse:
    """Decode a record's value.

    Raises:
        msgspec.DecodeError: not JSON, not UTF-8, or not an automatic response.
        NewerVersion: its format is newer.
    """
    record = _decode(value)
    for field in ("at", "received_at"):
        if not is_time(getattr(record, field)):
            raise invalid_time(field)
    if record.occurred_at is not None and not is_provider_time(record.occurred_at):
        raise invalid_time("occurred_at")
    if record.outcome == "intent" and not record.attempt:
        raise DecodeError("an intent has an attempt")
    return record


def auto_response_key(record: AutoResponse) -> bytes:
    """The Kafka key: that of the handset's contact."""
    return key_of(record.account, record.number)


def join_auto_responses(a: AutoResponse, b: AutoResponse) -> AutoResponse:
    """The record that counts, of two of the same event: accepted > refused > not_sent > unknown > intent.

    Of several of one outcome the earliest.
    """
    return b if b.precedence() < a.precedence() else a
