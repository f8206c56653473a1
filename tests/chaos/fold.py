"""Folds what Kafka has into the messages and contacts that must result from it by now."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gateway.postback import Response, decode, format_time
from gateway.submission import SUBMISSIONS, Submission, decode_submission
from streams.contact import Contact, encode_contact, merge_contact
from streams.contact_event import (
    ContactEvent,
    contact_event_key,
    contact_event_of_response,
    contact_event_of_submission,
)
from streams.expiry import mark_overdue, mark_unsent
from streams.merge import Event, merge
from streams.message import INPUTS, Message, encode_message
from streams.opt_out import recognise
from tests.chaos.readback import Digest, digest_of, read_records


class Limits(NamedTuple):
    """After how long a message is overdue or unsent; by default longer than any run."""

    overdue_after: timedelta = timedelta(hours=72)
    unsent_after: timedelta = timedelta(hours=72)


@dataclass
class Recorded:
    """The records of one kind in Kafka."""

    records: int = 0
    events: set[str] = field(default_factory=set)
    bodies: set[Digest] = field(default_factory=set)

    def add(self, event: Event) -> None:
        self.records += 1
        self.events.add(event.event_id)
        self.bodies.add(digest_of(event.body.encode()))


@dataclass
class Folded:
    """All events in Kafka, and their messages and contacts."""

    postbacks: Recorded = field(default_factory=Recorded)
    submissions: Recorded = field(default_factory=Recorded)
    #: Encoded states, by key.
    messages: dict[bytes, bytes] = field(default_factory=dict)
    contacts: dict[bytes, bytes] = field(default_factory=dict)
    #: When the records of each response and submission were received.
    received_at: defaultdict[Digest, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: When the first submission about a message was received, by MessageID.
    submitted_at: dict[str, str] = field(default_factory=dict)
    overdue: int = 0
    unsent: int = 0


async def fold_records(kafka: str, limits: Limits) -> Folded:
    """Read all postbacks and submissions, up to their current ends."""
    folded, states, contacts = Folded(), dict[bytes, Message](), dict[bytes, Contact]()
    async for record in read_records(kafka, INPUTS):
        event: Event
        if record.topic == SUBMISSIONS:
            event = decode_submission(record.value)
            folded.submissions.add(event)
            if event.message_id is not None:
                first = folded.submitted_at.get(event.message_id, event.received_at)
                folded.submitted_at[event.message_id] = min(first, event.received_at)
        else:
            event = decode(record.topic, record.value)
            folded.postbacks.add(event)
        if event.message_id is not None:
            states[record.key] = merge(states.get(record.key), event)
        if isinstance(event, Response | Submission):
            folded.received_at[digest_of(event.body.encode())].add(event.received_at)
            if about_contact := contact_event_of(event):
                key = contact_event_key(about_contact)
                contacts[key] = merge_contact(contacts.get(key), about_contact)
    now = format_time(datetime.now(UTC))
    for key, state in states.items():
        marked = mark_unsent(mark_overdue(state, limits.overdue_after, now), limits.unsent_after, now)
        folded.overdue += marked.overdue_at is not None
        folded.unsent += marked.unsent_at is not None
        folded.messages[key] = encode_message(marked)
    folded.contacts = {key: encode_contact(contact) for key, contact in contacts.items()}
    return folded


def contact_event_of(event: Event) -> ContactEvent | None:
    """What an event says about being written to; None: nothing."""
    if isinstance(event, Submission):
        return contact_event_of_submission(event)
    if not isinstance(event, Response) or not (recognition := recognise(event.text)):
        return None
    return contact_event_of_response(event, recognition.signal, recognition.words)
