"""The contract of a postback: its JSON, topics, key and times.

A postback is one HTTP request of the provider about one message. It is encoded once, here, and its bytes pass
unchanged through Kafka to ClickHouse.

Times are RFC 3339 in UTC with milliseconds, always 24 characters (`2026-11-23T04:39:41.123Z`), so that they
sort as text.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, TypeAlias

from msgspec import DecodeError, Meta, Struct, json

from runtime.decoding import total

SENT, RESPONSE, RECEIPT = "postbacks.sent", "postbacks.response", "postbacks.receipt"

Time: TypeAlias = str

TIME_LENGTH = len("2026-11-23T04:39:41.123Z")
#: Times by our clock, from the first year to before the last: those that ClickHouse's tables accept. They
#: leave room for arithmetic, too.
FIRST_YEAR, LAST_YEAR = "2000", "2100"
#: Times by the provider's clock: the range of ClickHouse's DateTime64.
FIRST_PROVIDER_YEAR, LAST_PROVIDER_YEAR = "1900", "2300"

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GUID_LENGTH = 36

# Decoding checks these: an invalid value, merged into a state, would make ClickHouse refuse the whole state.
Guid: TypeAlias = Annotated[
    str, Meta(pattern=f"^{GUID.pattern}$", min_length=GUID_LENGTH, max_length=GUID_LENGTH)
]
#: Of a record's own message only the length: its key is checked, so that it can spoil no other message.
MessageId: TypeAlias = Annotated[str, Meta(min_length=GUID_LENGTH, max_length=GUID_LENGTH)]
#: Characters, at most: a message has many events, and has to fit into a record.
MAX_EVENT_ID, MAX_ACCOUNT = 32, 64
ACCOUNT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
EventId: TypeAlias = Annotated[str, Meta(max_length=MAX_EVENT_ID)]
AccountName: TypeAlias = Annotated[str, Meta(max_length=MAX_ACCOUNT)]
#: The length bounds the cache of valid ones, too.
ProviderTime: TypeAlias = Annotated[Time, Meta(min_length=TIME_LENGTH, max_length=TIME_LENGTH)]


class Postback(Struct, kw_only=True, tag_field="type", gc=False):
    """The fields that all types share, named as in the JSON and as ClickHouse's columns."""

    #: 128-bit hash (hex) of the account and every field the provider sent: a repeat has the same id.
    event_id: EventId
    #: The message it is about, lower case with dashes: MatchedMessageID of a matched reply, else MessageID.
    message_id: MessageId
    account: AccountName
    reference_id: str
    #: Digits only, in the postback's direction: a response has its message's numbers swapped.
    from_number: str
    to_number: str
    #: SentTime or ResponseReceiveDate; null if missing or unreadable.
    occurred_at: ProviderTime | None
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
    reply_id: Guid | None
    matched: bool
    text: str
    #: SMSResponse as received; omitted if it is 1. Any other value is not to be answered.
    marker: str = "1"


class Receipt(Postback, tag="receipt", omit_defaults=True):
    """A delivery receipt. The code is authoritative; the text may contradict it."""

    code: str
    text: str
    backup_message_id: Guid | None


AnyPostback: TypeAlias = Sent | Response | Receipt

TOPIC_OF: dict[type[AnyPostback], str] = {Sent: SENT, Response: RESPONSE, Receipt: RECEIPT}
POSTBACK_TOPICS = (SENT, RESPONSE, RECEIPT)

#: The header of a record that `postbacks reconcile --repair` publishes again: streams then writes the state
#: of its message, even if it contains the event already.
REPUBLISHED = ("republished", b"1")

encode = json.Encoder().encode
_decoders: dict[str, Callable[[bytes], AnyPostback]] = {
    topic: total(json.Decoder(struct).decode) for struct, topic in TOPIC_OF.items()
}


def decode(topic: str, value: bytes) -> AnyPostback:
    """Decode a record's value; `topic` is one of POSTBACK_TOPICS.

    Raises:
        msgspec.DecodeError: not JSON, not UTF-8, or not a postback of this topic.
    """
    postback = _decoders[topic](value)
    if not is_time(postback.received_at):
        raise invalid_time("received_at")
    if postback.occurred_at is not None and not is_provider_time(postback.occurred_at):
        raise invalid_time("occurred_at")
    return postback


def key_of(account: str, message_id: str) -> bytes:
    """The Kafka key: it keeps a message's events in one partition, and accounts apart."""
    return f"{account}/{message_id}".encode()


def postback_key(postback: AnyPostback) -> bytes:
    """The Kafka key of a postback: that of its message."""
    return key_of(postback.account, postback.message_id)


def encode_body(raw: bytes) -> tuple[str, str]:
    """The fields `body` and `body_base64`: text if the bytes are UTF-8, else base64."""
    try:
        return raw.decode(), ""
    except UnicodeDecodeError:
        return "", b64encode(raw).decode()


def format_time(at: datetime) -> Time:
    """Format an aware datetime; truncates to milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def is_time(text: str, first_year: str = FIRST_YEAR, last_year: str = LAST_YEAR) -> bool:
    """Whether a text is a time of this contract, from the first year to before the last one."""
    if len(text) != TIME_LENGTH or text[4:20:3] != "--T::." or text[-1] != "Z":
        return False
    if not first_year <= text < last_year:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)  # the provider's times have whole seconds, so they repeat
def is_provider_time(text: ProviderTime) -> bool:
    """Whether a text is a time of this contract by the provider's clock."""
    return is_time(text, FIRST_PROVIDER_YEAR, LAST_PROVIDER_YEAR)


def invalid_time(field: str) -> DecodeError:
    """The error of a record whose field is no time of this contract."""
    return DecodeError(f"{field} is not a time as the contract says")
