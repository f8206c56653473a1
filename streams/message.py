"""The contract of a message: everything known about one MessageID, as a join-semilattice.

A state is a set of facts (by `event_id`) and what is derived from them. `join` is commutative, associative
and idempotent, so duplicates, reordering, replays and partial states converge. ClickHouse runs the same join
(`sinks/schema`), and a test compares the two.

The topic is compacted. The last record of a key is its whole state as one worker knew it; a tombstone (no
value) means that streams expired it. A consumer that needs exact states joins the records it reads.

This file defines states and their join; lists of facts join in `streams/facts.py`, and `streams/expiry.py`
decides when a message is overdue or expires.
"""

from __future__ import annotations

from copy import copy
from functools import reduce
from typing import Literal, TypeAlias, get_args

from msgspec import Struct, json

from gateway.postback import POSTBACK_TOPICS, AnyPostback, Receipt, Response, Sent, Time
from gateway.sms_errors import NO_ERROR
from gateway.submission import SUBMISSIONS, Submission
from runtime.decoding import total
from runtime.errors import StartupError
from streams.facts import Attempt, ReceiptFact, Reply, SubmissionFact, with_fact
from streams.receipt_codes import CODES

MESSAGES = "messages"
#: The topics whose records states follow from.
INPUTS = (*POSTBACK_TOPICS, SUBMISSIONS)
#: The newest format that this code writes: 2 of states with a submission, 1 of all others, as before.
#: A worker rejects newer ones, so that a rolling upgrade loses no field.
VERSION = 2
#: Characters of a text, and of a number or a code. These caps keep a message below Kafka's record limit;
#: they affect no status and no time.
MAX_TEXT, MAX_NUMBER = 1000, 32

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

#: What a state is merged with.
Event: TypeAlias = AnyPostback | Submission
#: The rank of the type of event that a value comes from, and the value. The lowest wins.
Ranked: TypeAlias = tuple[int, str]


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


class NewerVersion(StartupError):
    """A state was written by newer code; merging into it would lose the fields that code added."""


_decode = total(json.Decoder(Message).decode)
encode_message = json.Encoder().encode


def decode_message(value: bytes) -> Message:
    """Decode a record's value.

    Raises:
        NewerVersion: its format is newer than this code.
        msgspec.DecodeError: it is not a message.
    """
    message = _decode(value)
    if message.version > VERSION:
        raise NewerVersion(
            f"a message has format {message.version}, this code knows up to {VERSION}: upgrade it"
        )
    return message


def merge(state: Message | None, event: Event) -> Message:
    """Return the state including the event; the same object if the event adds nothing."""
    if state is None:
        return state_of(event)
    after = _apply(copy(state), event)
    return state if after == state else after


def state_of(event: Event) -> Message:
    """Return the state that follows from this event alone.

    Raises:
        ValueError: it is a submission without a message_id, which is about no message.
    """
    if event.message_id is None:
        raise ValueError("a submission without a message_id is about no message")
    initial = Message(
        version=1,
        message_id=event.message_id,
        account=event.account,
        direction="inbound",
        first_seen_at=event.received_at,
        last_seen_at=event.received_at,
    )
    return _apply(initial, event)


def _apply(state: Message, event: Event) -> Message:
    """Do `join(state, state_of(event))` without a second state: modify `state`, but not its lists."""
    at = event.received_at
    from_number, to_number = event.from_number[:MAX_NUMBER], event.to_number[:MAX_NUMBER]
    if isinstance(event, Sent):
        rank = 0
        state.direction = "outbound"
        attempt = Attempt(
            received_at=at,
            event_id=event.event_id,
            sent=event.sent,
            occurred_at=event.occurred_at,
        )
        state.attempts = with_fact(state.attempts, attempt)
        if event.sent:
            state.sent_at = _earliest(state.sent_at, at)
    elif isinstance(event, Receipt):
        rank = 1
        state.direction = "outbound"
        receipt = ReceiptFact(
            received_at=at,
            event_id=event.event_id,
            code=event.code[:MAX_NUMBER],
            text=event.text[:MAX_TEXT],
            backup_message_id=event.backup_message_id,
        )
        state.receipts = with_fact(state.receipts, receipt)
        if known := CODES.get(event.code):
            if known.meaning == "delivered":
                state.delivered_at = _earliest(state.delivered_at, at)
            elif known.meaning == "failed":
                state.failed_at = _earliest(state.failed_at, at)
            else:
                state.carrier_at = _earliest(state.carrier_at, at)
    elif isinstance(event, Response):
        rank = 2
        reply = Reply(
            received_at=at,
            event_id=event.event_id,
            text=event.text[:MAX_TEXT],
            reply_id=event.reply_id,
            occurred_at=event.occurred_at,
        )
        state.replies = with_fact(state.replies, reply)
        if event.matched:  # a reply travels in the opposite direction to the message it answers
            state.direction = "outbound"
            from_number, to_number = to_number, from_number
            state.replied_at = _earliest(state.replied_at, at)
    else:
        rank = 3
        _apply_submission(state, event)
    _merge_identity(state, (rank, event.reference_id[:MAX_TEXT]), (rank, from_number), (rank, to_number))
    _widen_seen(state, at, at)
    return _derive(state)


def _apply_submission(state: Message, submission: Submission) -> None:
    at = submission.received_at
    error = ""
    if submission.error != NO_ERROR:
        error = (submission.error_name or str(submission.error))[:MAX_NUMBER]
    fact = SubmissionFact(
        received_at=at,
        event_id=submission.event_id,
        queued=submission.queued,
        error=error,
        cancelled=submission.cancelled,
    )
    state.version = max(state.version, 2)
    state.direction = "outbound"
    state.submissions = with_fact(state.submissions, fact)
    state.submitted_at = _earliest(state.submitted_at, at)
    if submission.cancelled:
        state.withdrawn_at = _earliest(state.withdrawn_at, at)
    state.submission_error = max(state.submission_error, error)
    if submission.scheduled_for is not None and submission.scheduled_for > (state.scheduled_for or ""):
        state.scheduled_for, state.unsent_at = submission.scheduled_for, None
    state.text = max(state.text, submission.text[:MAX_TEXT])


def join(a: Message, b: Message) -> Message:
    """Return the least upper bound of two states; `a` itself if `b` adds nothing."""
    state = copy(a)
    state.version = max(a.version, b.version)
    if b.direction == "outbound":
        state.direction = "outbound"
    _merge_identity(
        state, (b.reference_rank, b.reference_id), (b.from_rank, b.from_number), (b.to_rank, b.to_number)
    )
    _widen_seen(state, b.first_seen_at, b.last_seen_at)
    state.sent_at = _earliest(a.sent_at, b.sent_at)
    state.carrier_at = _earliest(a.carrier_at, b.carrier_at)
    state.delivered_at = _earliest(a.delivered_at, b.delivered_at)
    state.failed_at = _earliest(a.failed_at, b.failed_at)
    state.replied_at = _earliest(a.replied_at, b.replied_at)
    state.overdue_at = _earliest(a.overdue_at, b.overdue_at)
    state.attempts = reduce(with_fact, b.attempts, a.attempts)
    state.receipts = reduce(with_fact, b.receipts, a.receipts)
    state.replies = reduce(with_fact, b.replies, a.replies)
    if b.submissions:
        _join_submissions(state, b)
    _derive(state)
    return a if state == a else state


def _join_submissions(state: Message, other: Message) -> None:
    state.unsent_at = _join_unsent(state, other)
    state.submissions = reduce(with_fact, other.submissions, state.submissions)
    state.submitted_at = _earliest(state.submitted_at, other.submitted_at)
    state.withdrawn_at = _earliest(state.withdrawn_at, other.withdrawn_at)
    state.submission_error = max(state.submission_error, other.submission_error)
    state.scheduled_for = _latest(state.scheduled_for, other.scheduled_for)
    state.text = max(state.text, other.text)


def _join_unsent(a: Message, b: Message) -> Time | None:
    """A mark counts only with the scheduled time that it was derived from: the later one is right."""
    of_a, of_b = a.scheduled_for or "", b.scheduled_for or ""
    if of_a == of_b:
        return _earliest(a.unsent_at, b.unsent_at)
    return a.unsent_at if of_a > of_b else b.unsent_at


def _merge_identity(state: Message, reference: Ranked, from_number: Ranked, to_number: Ranked) -> None:
    """Adopt values of a better (lower) rank; an empty value has no source, so its rank stays 0."""
    if reference[1] and (not state.reference_id or reference < (state.reference_rank, state.reference_id)):
        state.reference_rank, state.reference_id = reference
    if from_number[1] and (not state.from_number or from_number < (state.from_rank, state.from_number)):
        state.from_rank, state.from_number = from_number
    if to_number[1] and (not state.to_number or to_number < (state.to_rank, state.to_number)):
        state.to_rank, state.to_number = to_number


def _widen_seen(state: Message, first: Time, last: Time) -> None:
    if first < state.first_seen_at:
        state.first_seen_at = first
    if last > state.last_seen_at:
        state.last_seen_at = last


def _earliest(a: Time | None, b: Time | None) -> Time | None:
    if a is None or (b is not None and b < a):
        return b
    return a


def _latest(a: Time | None, b: Time | None) -> Time | None:
    if a is None or (b is not None and b > a):
        return b
    return a


def _derive(state: Message) -> Message:
    """Set the fields that follow from the facts."""
    if state.receipts:
        if state.overdue_at is not None and state.receipts[0].received_at <= state.overdue_at:
            state.overdue_at = None
        backups = [receipt.backup_message_id for receipt in state.receipts if receipt.backup_message_id]
        if backups or state.backup_message_ids:
            state.backup_message_ids = sorted({*backups})
    if state.unsent_at is not None and not is_unsent(state, state.unsent_at):
        state.unsent_at = None
    state.orphan = state.direction == "outbound" and not state.attempts and state.submitted_at is None
    state.status = _status(state)
    return state


def is_unsent(state: Message, due: Time) -> bool:
    """Whether a message that the provider accepted had neither an attempt nor a receipt up to then."""
    return (
        not state.submission_error
        and state.withdrawn_at is None
        and not (state.attempts and state.attempts[0].received_at <= due)
        and not (state.receipts and state.receipts[0].received_at <= due)
    )


def _status(state: Message) -> Status:
    """Pick the best-founded status, regardless of the order of arrival."""
    if state.delivered_at is not None:
        return "delivered"
    if state.failed_at is not None:
        return "failed"
    if state.carrier_at is not None:
        return "in_transit"
    if state.sent_at is not None:
        return "sent"
    if state.attempts:  # all of them refusals, as `sent_at` is unset; the provider gives up after the third
        return "cancelled" if len(state.attempts) >= 3 else "retrying"
    if state.submitted_at is not None:
        if state.withdrawn_at is not None:
            return "withdrawn"
        return "refused" if state.submission_error else "submitted"
    return "received" if state.direction == "inbound" else "unknown"
