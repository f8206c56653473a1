"""The joined tables of streams: how `streams.state` joins and rewrites their encoded states."""

from __future__ import annotations

from msgspec import DecodeError

from gateway.postback import FIRST_PROVIDER_YEAR, LAST_PROVIDER_YEAR, is_time
from streams.contact import CONTACTS, Contact, decode_contact, encode_contact, join_contacts
from streams.contact_event import CONTACT_EVENTS
from streams.correlate import headers
from streams.join import join
from streams.message import INPUTS, MESSAGES, Message, decode_message, encode_message
from streams.state.spec import Change, TableSpec

#: Longer values may be nested so deeply that whether they can be decoded depends on the stack of the caller.
MAX_SHALLOW_BYTES = 1500


def _join(known: bytes | None, value: bytes) -> bytes:
    message = decode_message(value)
    if not (is_time(message.last_seen_at) and is_time(message.sent_at or message.last_seen_at)) or (
        message.submissions and not _has_valid_submission(message)
    ):
        raise DecodeError("its times are invalid")  # expiry could not calculate with them
    if len(value) > MAX_SHALLOW_BYTES:
        value = encode_message(message)  # without fields that are not of the contract
    if known is None:
        return value
    joined = join(message, decode_message(known))
    return value if joined is message else encode_message(joined)


def _has_valid_submission(message: Message) -> bool:
    scheduled = message.scheduled_for or message.last_seen_at
    return is_time(message.submitted_at or "") and is_time(scheduled, FIRST_PROVIDER_YEAR, LAST_PROVIDER_YEAR)


def _rewrite(value: bytes | None) -> Change:
    status = "" if value is None else decode_message(value).status
    return Change(value, headers(status, status))


def _join_contacts(known: bytes | None, value: bytes) -> bytes:
    contact = decode_contact(value)
    if not _has_valid_times(contact):
        raise DecodeError(
            "its times are invalid"
        )  # ClickHouse would refuse the contact, and all its later states
    if len(value) > MAX_SHALLOW_BYTES:
        value = encode_contact(contact)  # without fields that are not of the contract
    if known is None:
        return value
    joined = join_contacts(contact, decode_contact(known))
    return value if joined is contact else encode_contact(joined)


def _has_valid_times(contact: Contact) -> bool:
    received = [contact.first_seen_at, contact.last_seen_at]
    received += [fact.received_at for fact in contact.facts]
    received += [event.received_at for event in contact.untimed]
    occurred = [mark.at for mark in contact.latest]
    occurred += [fact.occurred_at for fact in contact.facts if fact.occurred_at is not None]
    return all(map(is_time, received)) and all(
        is_time(at, FIRST_PROVIDER_YEAR, LAST_PROVIDER_YEAR) for at in occurred
    )


#: The stores of `messages` are where they were when it was the only table.
MESSAGES_TABLE = TableSpec(MESSAGES, INPUTS, ".", 0.875, _join, _rewrite)
CONTACTS_TABLE = TableSpec(
    CONTACTS,
    (CONTACT_EVENTS,),
    f"tables/{CONTACTS}",
    0.125,
    _join_contacts,
    lambda value: Change(value, []),
)
