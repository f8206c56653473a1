"""The contract of a message: everything known about one MessageID, as a join-semilattice.

A state is a set of facts (by `event_id`) and what is derived from them. Joining states is commutative,
associative and idempotent, so duplicates, reordering, replays and partial states converge.

The topic is compacted. The last record of a key is its whole state as one worker knew it; a tombstone (no
value) means that streams expired it. A consumer that needs exact states joins the records it reads.

This file defines states and their encoding. `streams/facts.py` has the facts, `streams/merge.py` adds an
event to a state, `streams/join.py` joins two states, `streams/status.py` derives a state's status and marks,
and `streams/expiry.py` decides when a message is overdue or unsent, and when it expires.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from msgspec import Struct, json

from gateway.postback import POSTBACK_TOPICS, Time
from gateway.submission import SUBMISSIONS
from streams.facts import Attempt, ReceiptFact, Reply, SubmissionFact
from streams.versions import state_decoder

MESSAGES = "messages"
#: The topics whose records states follow from.
INPUTS = (*POSTBACK_TOPICS, SUBMISSIONS)
#: The newest format that this code writes: 2 of states with a submission, 1 of all others, as before.
#: A worker rejects newer ones, so that a rolling upgrade loses no field.
VERSION = 2

Direction: TypeAlias = Literal["outbound", "inbound"]
Status: TypeAlias = Literal[
    "delivered",
    "failed",
    "in_transit",
    "sent",
    "cancelled",
    "retrying",
    "withdrawn",
    "refused",
    "submitted",
    "received",
    "unknown",
]
STATUSES: tuple[Status, ...] = get_args(Status)


class Message(Struct, kw_only=True, omit_defaults=True, gc=False):
    """The state of one message. Null, empty and false fields are omitted from the JSON.

    `*_at` is the earliest `received_at` of such facts, by our clock; the provider's times are in the facts.
    """

    version: int
    message_id: str
    account: str
    direction: Direction
    status: Status = "unknown"
    reference_id: str = ""
    from_number: str = ""
    to_number: str = ""
    #: Rank of the event that each of the three above comes from: 0 sent, 1 receipt, 2 response, 3 submission.
    reference_rank: int = 0
    from_rank: int = 0
    to_rank: int = 0
    first_seen_at: Time
    last_seen_at: Time
    sent_at: Time | None = None
    carrier_at: Time | None = None
    delivered_at: Time | None = None
    failed_at: Time | None = None
    replied_at: Time | None = None
    overdue_at: Time | None = None
    #: Queued, and neither attempted nor receipted up to this time, some minutes after it was to be sent.
    unsent_at: Time | None = None
    #: When the first answer to its send was received, whatever the answer is.
    submitted_at: Time | None = None
    #: When the first answer with Cancelled was received.
    withdrawn_at: Time | None = None
    #: Name of SMSError, or its number if that is not listed; of several the greatest. Empty if not refused.
    submission_error: str = ""
    #: The greatest ScheduledDateTime of its requests.
    scheduled_for: Time | None = None
    #: Of its requests: the first 1,000 characters, of several texts the greatest.
    text: str = ""
    #: Ordered by (received_at, event_id).
    attempts: list[Attempt] = []
    receipts: list[ReceiptFact] = []
    replies: list[Reply] = []
    submissions: list[SubmissionFact] = []
    #: Messages in which the provider retried from another number, sorted.
    backup_message_ids: list[str] = []
    #: Outbound, with neither a `sent` postback nor a submission.
    orphan: bool = False


encode_message = json.Encoder().encode
decode_message = state_decoder(Message, VERSION, "a message")
