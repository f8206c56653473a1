"""Contacts in memory, merged from the topics `contacts` and `contact_events`. Pure."""

from __future__ import annotations

import zlib

from msgspec import DecodeError

from streams.contact import Contact, decode_contact, encode_contact, join_contacts, merge_contact
from streams.contact_event import (
    SEVERITY,
    ContactEvent,
    contact_event_key,
    contact_key,
    decode_contact_event,
)


class CompressedContacts:
    """Each contact is compressed by itself, which takes a third of the memory of the encoded ones."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, bytes] = {}

    def find(self, account: str, number: str) -> Contact | None:
        """The contact of a canonical number; None if it has none."""
        return self._find(contact_key(account, number))

    def apply_state(self, key: bytes | None, value: bytes) -> None:
        """Join a record of `contacts`.

        Raises:
            DecodeError: the key or the value is not ours.
            NewerVersion: newer code has written the value.
        """
        state = decode_contact(value)
        own_key = contact_key(state.account, state.number)
        check_key(key, own_key)
        known = self._find(own_key)  # a stale record has less than the one before it
        self._by_key[own_key] = _compress(encode_contact(join_contacts(known, state)) if known else value)

    def apply_event(self, key: bytes | None, value: bytes) -> None:
        """Merge a record of `contact_events`.

        Raises:
            DecodeError: the key or the value is not ours.
        """
        event = decode_contact_event(value)
        own_key = contact_event_key(event)
        check_key(key, own_key)
        self._by_key[own_key] = _compress(encode_contact(merge_contact(self._find(own_key), event)))

    def _find(self, key: bytes) -> Contact | None:
        state = self._by_key.get(key)
        return decode_contact(_decompress(state)) if state else None


def _example() -> bytes:
    """What states have in common: the dictionary of the compression."""
    contact: Contact | None = None
    for signal in SEVERITY:
        event = ContactEvent(
            event_id="",
            account="",
            number="",
            own_number=" ",
            signal=signal,
            words="STOP",
            source="response",
            occurred_at="2026-11-23T12:00:00.000Z",
            received_at="2026-11-23T12:00:00.000Z",
            message_id=" ",
        )
        contact = merge_contact(contact, event)
    return encode_contact(contact)


_EXAMPLE = _example()


def _compress(value: bytes) -> bytes:
    compressor = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS, zdict=_EXAMPLE)
    return compressor.compress(value) + compressor.flush()


def _decompress(value: bytes) -> bytes:
    return zlib.decompressobj(wbits=-zlib.MAX_WBITS, zdict=_EXAMPLE).decompress(value)


def check_key(key: bytes | None, own_key: bytes) -> None:
    """Check the key of a record against that of its value.

    Raises:
        DecodeError: it is another one.
    """
    if key != own_key:
        raise DecodeError("its key is another one")
