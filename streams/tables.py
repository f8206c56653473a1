"""The joined tables of streams: how `streams.state` joins and rewrites their encoded states."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec import DecodeError

from gateway.postback import FIRST_PROVIDER_YEAR, LAST_PROVIDER_YEAR, is_time
from streams.contact import CONTACTS, Contact, decode_contact, encode_contact, join_contacts
from streams.contact_event import CONTACT_EVENTS
from streams.correlate import headers
from streams.join import join
from streams.message import INPUTS, MESSAGES, Message, decode_message, encode_message
from streams.state.spec import Change, Join, TableSpec

#: Longer values may be nested so deeply that whether they can be decoded depends on the stack of the caller.
MAX_SHALLOW_BYTES = 1500

S = TypeVar("S")


def _joining(
    decode: Callable[[bytes], S],
    encode: Callable[[S], bytes],
    join_states: Callable[[S, S], S],
    has_valid_times: Callable[[S], bool],
) -> Join:
    """Return the join of encoded states."""

    def join_values(known: bytes | None, value: bytes) -> bytes:
        state = decode(value)
        if not has_valid_times(state):
            raise DecodeError("its times are invalid")
        if len(value) > MAX_SHALLOW_BYTES:
            value = encode(state)  # without fields that are not of the contract
        if known is None:
            return value
        joined = join_states(state, decode(known))
        return value if joined is state else encode(joined)

    return join_values


def _can_expire(message: Message) -> bool:
    """Whether expiry can calculate with the message's times."""
    return (
        is_time(message.last_seen_at)
        and is_time(message.sent_at or message.last_seen_at)
        and (not message.submissions or _has_valid_submission(message))
    )


def _has_valid_submission(message: Message) -> bool:
    scheduled = message.scheduled_for or message.last_seen_at
    return is_time(message.submitted_at or "") and is_time(scheduled, FIRST_PROVIDER_YEAR, LAST_PROVIDER_YEAR)


def _rewrite(value: bytes | None) -> Change:
    status = "" if value is None else decode_message(value).status
    return Change(value, headers(status, status))


def _is_storable(contact: Contact) -> bool:
    """Whether ClickHouse accepts the contact's times; else it would refuse all later states, too."""
    received = [contact.first_seen_at, contact.last_seen_at]
    received += [fact.received_at for fact in contact.facts]
    received += [event.received_at for event in contact.untimed]
    received += [mark.at for mark in contact.untimed_latest]
    occurred = [mark.at for mark in contact.latest]
    occurred += [fact.occurred_at for fact in contact.facts if fact.occurred_at is not None]
    return all(map(is_time, received)) and all(
        is_time(at, FIRST_PROVIDER_YEAR, LAST_PROVIDER_YEAR) for at in occurred
    )


#: The stores of `messages` are where they were when it was the only table.
MESSAGES_TABLE = TableSpec(
    MESSAGES,
    INPUTS,
    ".",
    0.875,
    _joining(decode_message, encode_message, join, _can_expire),
    _rewrite,
)
CONTACTS_TABLE = TableSpec(
    CONTACTS,
    (CONTACT_EVENTS,),
    f"tables/{CONTACTS}",
    0.125,
    _joining(decode_contact, encode_contact, join_contacts, _is_storable),
    lambda value: Change(value, []),
)
