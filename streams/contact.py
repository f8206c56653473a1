"""The contract of a contact: what a number said about being written to, as a join-semilattice.

The topic is compacted: the last record of a key is its whole state as one worker knew it. Contacts do not
expire. `join_contacts` is commutative, associative and idempotent, and ClickHouse runs the same join
(`sinks/schema`). A state has facts only, no verdict: that is derived when read (`streams/verdict.py`).

Workers may have different words, so that one event can have several signals: the severest counts.

Only the numbers of ours can still multiply: `streams/correlate_contacts.py` limits them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from msgspec import Struct, json
from msgspec.structs import replace

from gateway.postback import Time
from streams.contact_event import OPT_OUTS, SEVERITY, ContactEvent, Signal, Source
from streams.facts import Fact, with_fact
from streams.versions import state_decoder

CONTACTS = "contacts"
#: The format that this code writes. A worker rejects newer ones, so that a rolling upgrade loses no field.
CONTACT_VERSION = 1
#: Of `untimed`, so that a state fits into a record however often a blocked number is written to.
MAX_UNTIMED = 100


class ContactFact(Fact, kw_only=True):
    """One event. Of several versions the earliest, with the severest signal among those of that time."""

    signal: Signal
    words: str
    own_number: str = ""
    source: Source
    source_name: str = ""
    occurred_at: Time | None = None
    message_id: str | None = None

    def precedence(self) -> tuple[Any, ...]:
        """The severest signal of any time would depend on the order, as a version beyond the cap is lost."""
        earliest, *fields = super().precedence()
        return earliest, -SEVERITY[self.signal], *fields


class Mark(Struct, kw_only=True, omit_defaults=True, gc=False):
    """The latest event of one signal at one number of ours."""

    own_number: str = ""
    signal: Signal
    #: By the provider's clock; of an opt-out without a readable time when it was received.
    at: Time
    event_id: str
    words: str


class Untimed(Struct, kw_only=True, omit_defaults=True, gc=False):
    """An opt-out without a readable time: it counts from when it was first received with that signal."""

    event_id: str
    own_number: str = ""
    signal: Signal
    received_at: Time
    words: str


class Contact(Struct, kw_only=True, omit_defaults=True, gc=False):
    """The state of one number of an account. Empty fields are omitted from the JSON."""

    version: int
    account: str
    number: str
    first_seen_at: Time
    last_seen_at: Time
    #: For display: the earliest 100, ordered by (received_at, event_id).
    facts: list[ContactFact] = []
    #: Of events with a provider's time: all of them, sorted by (own_number, signal); at most one for each.
    latest: list[Mark] = []
    #: The earliest 100, ordered by (received_at, event_id, severity).
    untimed: list[Untimed] = []
    #: Likewise of opt-outs without a readable time, repetitions included: they count only if `untimed` is
    #: full, as others may be missing there.
    untimed_latest: list[Mark] = []


encode_contact = json.Encoder().encode
decode_contact = state_decoder(Contact, CONTACT_VERSION, "a contact")


def merge_contact(state: Contact | None, event: ContactEvent) -> Contact:
    """Return the state including the event; the same object if the event adds nothing."""
    contact = _contact_of(event)
    return contact if state is None else join_contacts(state, contact)


def _contact_of(event: ContactEvent) -> Contact:
    """The state that follows from this event alone."""
    contact = Contact(
        version=CONTACT_VERSION,
        account=event.account,
        number=event.number,
        first_seen_at=event.received_at,
        last_seen_at=event.received_at,
        facts=[
            ContactFact(
                received_at=event.received_at,
                event_id=event.event_id,
                signal=event.signal,
                words=event.words,
                own_number=event.own_number,
                source=event.source,
                source_name=event.source_name,
                occurred_at=event.occurred_at,
                message_id=event.message_id,
            )
        ],
    )
    if event.occurred_at is not None:
        contact.latest = [_mark(event, event.occurred_at)]
    elif event.signal in OPT_OUTS:
        contact.untimed = [
            Untimed(
                event_id=event.event_id,
                own_number=event.own_number,
                signal=event.signal,
                received_at=event.received_at,
                words=event.words,
            )
        ]
        contact.untimed_latest = [_mark(event, event.received_at)]
    return contact


def _mark(event: ContactEvent | Untimed, at: Time) -> Mark:
    return Mark(
        own_number=event.own_number,
        signal=event.signal,
        at=at,
        event_id=event.event_id,
        words=event.words,
    )


def marks_of(contact: Contact) -> Iterator[Mark]:
    """The marks that count; opt-outs without a time as marks at their first receipt."""
    yield from contact.latest
    for event in contact.untimed:
        yield _mark(event, event.received_at)
    if len(contact.untimed) >= MAX_UNTIMED:
        yield from contact.untimed_latest


def join_contacts(a: Contact, b: Contact) -> Contact:
    """Return the least upper bound of two states; `a` itself if `b` adds nothing."""
    state = replace(
        a,
        version=max(a.version, b.version),
        first_seen_at=min(a.first_seen_at, b.first_seen_at),
        last_seen_at=max(a.last_seen_at, b.last_seen_at),
        facts=reduce(with_fact, b.facts, a.facts),
        latest=_join_marks(a.latest, b.latest),
        untimed=_join_untimed(a.untimed, b.untimed),
        untimed_latest=_join_marks(a.untimed_latest, b.untimed_latest),
    )
    return a if state == a else state


def _join_marks(a: list[Mark], b: list[Mark]) -> list[Mark]:
    """The latest of each own number and signal; of those at the same time the greatest id and words."""
    marks = {(mark.own_number, mark.signal): mark for mark in a}
    for mark in b:
        key = mark.own_number, mark.signal
        known = marks.get(key)
        if known is None or (mark.at, mark.event_id, mark.words) > (known.at, known.event_id, known.words):
            marks[key] = mark
    return [marks[key] for key in sorted(marks)]


def _join_untimed(a: list[Untimed], b: list[Untimed]) -> list[Untimed]:
    """The earliest version of each event and signal; of these the earliest MAX_UNTIMED.

    Times only decrease when states join, so that what is beyond the cap stays there.
    """
    versions = {(event.event_id, event.signal): event for event in a}
    for event in b:
        known = versions.get((event.event_id, event.signal), event)
        versions[event.event_id, event.signal] = min(known, event, key=_precedence)
    return sorted(versions.values(), key=_order)[:MAX_UNTIMED]


def _precedence(event: Untimed) -> tuple[str, ...]:
    return event.received_at, event.own_number, event.words


def _order(event: Untimed) -> tuple[str, str, int]:
    return event.received_at, event.event_id, SEVERITY[event.signal]
