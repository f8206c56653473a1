"""The contract of a postback: its JSON, topics, key and times.

A postback is one HTTP request of the provider about one message. It is encoded once, here, and its bytes pass
unchanged through Kafka to ClickHouse.

Times are RFC 3339 in UTC with milliseconds, always 24 characters (`2026-11-23T04:39:41.123Z`), so that they
sort as text.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from msgspec import DecodeError, Struct, json

SENT, RESPONSE, RECEIPT = "postbacks.sent", "postbacks.response", "postbacks.receipt"

Time: TypeAlias = str

TIME_LENGTH = len("2026-11-23T04:39:41.123Z")
#: Years that leave room for arithmetic: a limit added to a later time could exceed the calendar.
FIRST_YEAR, LAST_YEAR = "1970", "9000"


class Postback(Struct, kw_only=True, tag_field="type", gc=False):
    """The fields that all types share, named as in the JSON and as ClickHouse's columns."""

    #: 128-bit hash (hex) of the account and every field the provider sent: a repeat has the same id.
    event_id: str
    #: The message it is about, lower case with dashes: MatchedMessageID of a matched reply, else MessageID.
    message_id: str
    account: str
    reference_id: str
    #: Digits only, in the postback's direction: a response has its message's numbers swapped.
    from_number: str
    to_number: str
    #: SentTime or ResponseReceiveDate; null if missing or unreadable.
    occurred_at: Time | None
    #: When the gateway received it, by our clock; all times of a message are counted in it.
    received_at: Time
    client_ip: str
    #: The query of the PostBackURL, as received.
    query: str
    #: The request's body, as received; empty if it is not UTF-8 (then `body_base64` holds it).
    body: str
    #: Fields that the parser does not know, as decoded text.
    extra: dict[str, str]
    body_base64: str = ""
    #: Request headers that carried fields of the provider (rare), as decoded text.
    headers: dict[str, str] = {}


class Sent(Postback, tag="sent", omit_defaults=True):
    """One attempt: the provider handed the message to the carrier (`sent`), or the carrier refused it."""

    sent: bool


class Response(Postback, tag="response", omit_defaults=True):
    """An SMS from a phone: a reply to a message (`matched`), or unsolicited."""

    #: Its own MessageID; null if a matched response had no usable one.
    reply_id: str | None
    matched: bool
    text: str


class Receipt(Postback, tag="receipt", omit_defaults=True):
    """A delivery receipt. The code is authoritative; the text may contradict it."""

    code: str
    text: str
    backup_message_id: str | None


AnyPostback: TypeAlias = Sent | Response | Receipt

TOPIC_OF: dict[type[AnyPostback], str] = {Sent: SENT, Response: RESPONSE, Receipt: RECEIPT}
POSTBACK_TOPICS = (SENT, RESPONSE, RECEIPT)

encode = json.Encoder().encode
_decoders: dict[str, Callable[[bytes], AnyPostback]] = {
    topic: json.Decoder(struct).decode for struct, topic in TOPIC_OF.items()
}


def decode(topic: str, value: bytes) -> AnyPostback:
    """Decode a record's value; `topic` is one of POSTBACK_TOPICS.

    Raises:
        msgspec.DecodeError: not JSON, not UTF-8, or not a postback of this topic.
    """
    try:
        return _decoders[topic](value)
    except UnicodeDecodeError as error:
        raise DecodeError(str(error)) from None


def key_of(account: str, message_id: str) -> bytes:
    """The Kafka key: it keeps a message's events in one partition, and accounts apart."""
    return f"{account}/{message_id}".encode()


def encode_body(raw: bytes) -> tuple[str, str]:
    """The fields `body` and `body_base64`: text if the bytes are UTF-8, else base64."""
    try:
        return raw.decode(), ""
    except UnicodeDecodeError:
        return "", b64encode(raw).decode()


def format_time(at: datetime) -> Time:
    """Format an aware datetime; truncates to milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def is_time(text: str) -> bool:
    """Whether a text is a time of this contract, in a year that is safe for arithmetic."""
    if len(text) != TIME_LENGTH or not text.endswith("Z") or not FIRST_YEAR <= text < LAST_YEAR:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
