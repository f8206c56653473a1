"""Folds what Kafka has into the messages that must result from it by now."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gateway.postback import decode, format_time
from gateway.submission import SUBMISSIONS, decode_submission
from streams.expiry import mark_overdue, mark_unsent
from streams.merge import Event, merge
from streams.message import INPUTS, Message, encode_message
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
    """All events in Kafka, and their messages."""

    postbacks: Recorded = field(default_factory=Recorded)
    submissions: Recorded = field(default_factory=Recorded)
    #: Encoded states, by key.
    messages: dict[bytes, bytes] = field(default_factory=dict)
    #: When the first submission about a message was received, by MessageID.
    submitted_at: dict[str, str] = field(default_factory=dict)
    overdue: int = 0
    unsent: int = 0


async def fold_records(kafka: str, limits: Limits) -> Folded:
    """Read all postbacks and submissions, up to their current ends."""
    folded, states = Folded(), dict[bytes, Message]()
    async for record in read_records(kafka, INPUTS):
        if record.topic == SUBMISSIONS:
            submission = decode_submission(record.value)
            folded.submissions.add(submission)
            if submission.message_id is None:
                continue
            first = folded.submitted_at.get(submission.message_id, submission.received_at)
            folded.submitted_at[submission.message_id] = min(first, submission.received_at)
            states[record.key] = merge(states.get(record.key), submission)
        else:
            postback = decode(record.topic, record.value)
            folded.postbacks.add(postback)
            states[record.key] = merge(states.get(record.key), postback)
    now = format_time(datetime.now(UTC))
    for key, state in states.items():
        marked = mark_unsent(mark_overdue(state, limits.overdue_after, now), limits.unsent_after, now)
        folded.overdue += marked.overdue_at is not None
        folded.unsent += marked.unsent_at is not None
        folded.messages[key] = encode_message(marked)
    return folded
