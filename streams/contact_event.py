"""The contract of `contact_events`: what a person said about being written to, one record per event.

An event is an opt-out or an opt-in, as a worker recognised it in a response or a submission, or as an
operator imported it. The key is that of its contact, account/number, so that all events of one share a
partition.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import DecodeError, Meta, Struct, json

from gateway.postback import (
    FIRST_PROVIDER_YEAR,
    LAST_PROVIDER_YEAR,
    AccountName,
    EventId,
    Guid,
    Response,
    Time,
    is_time,
    key_of,
)
from gateway.sms_errors import BY_NUMBER
from gateway.submission import Submission
from runtime.decoding import total
from runtime.phone_number import canonical
from streams.merge import MAX_NUMBER

CONTACT_EVENTS = "contact_events"
#: Characters of the words of an event, and of the name of its source.
MAX_WORDS, MAX_SOURCE_NAME = 160, 64
#: Number of SMSError: the provider refuses to send, as the recipient has sent STOP.
BLOCKED = 1

#: Ordered by severity. Whether `yes` opts in is decided when read.
Signal: TypeAlias = Literal["opted_in", "yes", "suspected", "opted_out"]
Source: TypeAlias = Literal["response", "submission", "import"]
SEVERITY: dict[Signal, int] = {signal: rank for rank, signal in enumerate(get_args(Signal))}
OPT_OUTS: tuple[Signal, ...] = ("suspected", "opted_out")


class ContactEvent(Struct, kw_only=True, omit_defaults=True, gc=False):
    """One opt-out or opt-in of one number. Null and empty fields are omitted from the JSON."""

    #: Of a response, or of a submission with a message_id: its own.
    event_id: EventId
    account: AccountName
    #: The handset's, canonical: digits only, without the 1 of a US number.
    number: str
    #: Ours, that it was sent to; canonical, empty if unknown.
    own_number: str = ""
    signal: Signal
    #: As written: the first 160 characters.
    words: Annotated[str, Meta(max_length=MAX_WORDS)]
    source: Source
    #: What the operator called the source of an import; empty otherwise.
    source_name: Annotated[str, Meta(max_length=MAX_SOURCE_NAME)] = ""
    #: By the provider's clock; null if missing or unreadable.
    occurred_at: Time | None = None
    received_at: Time
    #: The message or the reply that it came from.
    message_id: Guid | None = None


encode_contact_event = json.Encoder().encode
_decode = total(json.Decoder(ContactEvent).decode)


def decode_contact_event(value: bytes) -> ContactEvent:
    """Decode a record's value.

    Raises:
        msgspec.DecodeError: not JSON, not UTF-8, or not an event of a contact.
    """
    event = _decode(value)
    if invalid := _invalid_field(event):
        raise DecodeError(f"{invalid} is not as the contract says")
    return event


def _invalid_field(event: ContactEvent) -> str | None:
    """The first invalid field. Merged into a state, it would make ClickHouse refuse the whole state."""
    if not is_time(event.received_at):
        return "received_at"
    if not event.number or not _is_canonical(event.number):
        return "number"
    if not _is_canonical(event.own_number):
        return "own_number"
    at = event.occurred_at
    if at is not None and not is_time(at, FIRST_PROVIDER_YEAR, LAST_PROVIDER_YEAR):
        return "occurred_at"
    return None


def _is_canonical(number: str) -> bool:
    return len(number) <= MAX_NUMBER and canonical(number) == number


def contact_key(account: str, number: str) -> bytes:
    """The Kafka key of an event and of a state; `number` is canonical."""
    return key_of(account, number)


def contact_event_key(event: ContactEvent) -> bytes:
    """The Kafka key of an event: that of its contact."""
    return contact_key(event.account, event.number)


def contact_event_of_response(response: Response, signal: Signal, words: str) -> ContactEvent | None:
    """The event of a response with a recognised text; None if it does not tell its sender's number."""
    number = canonical(response.from_number)[:MAX_NUMBER]
    if not number:
        return None
    return ContactEvent(
        event_id=response.event_id,
        account=response.account,
        number=number,
        own_number=canonical(response.to_number)[:MAX_NUMBER],
        signal=signal,
        words=words[:MAX_WORDS],
        source="response",
        occurred_at=response.occurred_at,
        received_at=response.received_at,
        message_id=response.reply_id or response.message_id,
    )


def contact_event_of_submission(submission: Submission) -> ContactEvent | None:
    """The opt-out that a submission reports; None if it reports none, or does not tell the recipient."""
    number = canonical(submission.to_number)[:MAX_NUMBER]
    if submission.error != BLOCKED or not number:
        return None
    event_id = submission.event_id
    if submission.message_id is None:  # the same for different sends: a later one must not count as the first
        source = f"{event_id}/{submission.received_at}".encode()
        event_id = blake2b(source, digest_size=16, person=b"contact").hexdigest()
    return ContactEvent(
        event_id=event_id,
        account=submission.account,
        number=number,
        own_number=canonical(submission.from_number)[:MAX_NUMBER],
        signal="opted_out",
        words=BY_NUMBER[BLOCKED].name,
        source="submission",
        received_at=submission.received_at,
        message_id=submission.message_id,
    )


def contact_event_of_import(
    *,
    account: str,
    number: str,
    own_number: str,
    signal: Signal,
    words: str,
    source_name: str,
    occurred_at: Time | None,
    received_at: Time,
) -> ContactEvent:
    """The event that an operator imports: the same one whenever the same is imported from the same source.

    Args:
        number, own_number: canonical.
    """
    words = words[:MAX_WORDS]
    content = (account, number, own_number, signal, occurred_at, words, source_name)
    return ContactEvent(
        event_id=blake2b(json.encode(content), digest_size=16, person=b"import").hexdigest(),
        account=account,
        number=number,
        own_number=own_number,
        signal=signal,
        words=words,
        source="import",
        source_name=source_name,
        occurred_at=occurred_at,
        received_at=received_at,
    )
