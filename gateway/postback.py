"""The contract of a postback: its JSON, its topics, its key. Other packages import this file alone.

A postback is the provider's HTTP request about one message. It is encoded here, once, and passes
through Kafka to ClickHouse as these bytes.

Times are RFC 3339 in UTC with milliseconds, always 24 characters (`2026-11-23T04:39:41.123Z`), so that
comparing them as text compares them as times.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from msgspec import DecodeError, Struct, json

SENT, RESPONSE, RECEIPT = "postbacks.sent", "postbacks.response", "postbacks.receipt"
REJECTED = "postbacks.rejected"

Time: TypeAlias = str


class Postback(Struct, kw_only=True, tag_field="type", gc=False):
    """What all types share. Field names are those of the JSON and of ClickHouse's columns."""

    #: 128-bit hash, hex, of the account and all that the provider said: a repeat has the same one.
    event_id: str
    #: The message it is about, lower case with dashes: MatchedMessageID of a matched reply, else MessageID.
    message_id: str
    account: str
    reference_id: str
    #: Digits only, as the provider sent them: a response travels the other way than its message.
    from_number: str
    to_number: str
    #: SentTime or ResponseReceiveDate; null when there is none or it cannot be read.
    occurred_at: Time | None
    #: When the gateway had it: our clock, and the time that all fields of a message count in.
    received_at: Time
    client_ip: str
    #: The query of the PostBackURL, as it came.
    query: str
    #: The request's body, as it came; empty when it is not UTF-8 (then `body_base64` holds it).
    body: str
    #: Fields that nobody knows, as decoded text.
    extra: dict[str, str]
    body_base64: str = ""
    #: Request headers that carried fields of the provider (rare), as decoded text.
    headers: dict[str, str] = {}


class Sent(Postback, tag="sent", omit_defaults=True):
    """The provider handed the message to the carrier's side (`sent`), or was refused: one attempt."""

    sent: bool


class Response(Postback, tag="response", omit_defaults=True):
    """Somebody answered a message (`matched`), or wrote by themselves."""

    #: Its own MessageID; null when a matched response came without a usable one.
    reply_id: str | None
    matched: bool
    text: str


class Receipt(Postback, tag="receipt", omit_defaults=True):
    """A delivery receipt. The code decides; the text may say otherwise."""

    code: str
    text: str
    backup_message_id: str | None


class Rejected(Struct, kw_only=True, omit_defaults=True):
    """What could not be taken for a postback, with all that is needed to try again.

    Either a request that the gateway answered with 400, or (then `topic`, `partition` and `offset` say
    which) a Kafka record that a later stage could not decode.
    """

    #: Where it came from makes the id: of a request a random one, of a record a hash of its coordinates.
    rejection_id: str
    reason: str
    received_at: Time
    account: str = ""
    client_ip: str = ""
    method: str = ""
    query: str = ""
    #: The headers that matter: Content-Type, User-Agent, and those named like fields of the provider.
    headers: dict[str, str] = {}
    body: str = ""
    body_base64: str = ""
    #: The stage that rejected it: gateway, streams or sinks.
    stage: str = "gateway"
    topic: str = ""
    partition: int = -1
    offset: int = -1
    key: str = ""


AnyPostback: TypeAlias = Sent | Response | Receipt

TOPIC_OF: dict[type[Postback], str] = {Sent: SENT, Response: RESPONSE, Receipt: RECEIPT}
POSTBACK_TOPICS = (SENT, RESPONSE, RECEIPT)

encode = json.Encoder().encode
_decoders: dict[str, Callable[[bytes], AnyPostback]] = {
    SENT: json.Decoder(Sent).decode,
    RESPONSE: json.Decoder(Response).decode,
    RECEIPT: json.Decoder(Receipt).decode,
}
decode_rejected = json.Decoder(Rejected).decode


def decode(topic: str, value: bytes) -> AnyPostback:
    """Read a record's value of one of the POSTBACK_TOPICS.

    Raises:
        msgspec.DecodeError: it is not JSON, not UTF-8 or not of this contract.
    """
    try:
        return _decoders[topic](value)
    except UnicodeDecodeError as error:
        raise DecodeError(str(error)) from None


def key_of(account: str, message_id: str) -> bytes:
    """The Kafka key: all events of a message meet, and no account can touch another's."""
    return f"{account}/{message_id}".encode()


def format_time(at: datetime) -> Time:
    """A time (with a zone) in the contract's form; shortens to milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
