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

from gateway.postback import AnyPostback, Receipt, Sent, Time
from runtime.decoding import total
from runtime.errors import StartupError
from streams.facts import Attempt, ReceiptFact, Reply, with_fact
from streams.receipt_codes import CODES

MESSAGES = "messages"
#: The format that this code writes. A worker rejects newer ones, so that a rolling upgrade loses no field.
VERSION = 1
#: Characters of a text, and of a number or a code. These caps keep a message below Kafka's record limit;
#: they affect no status and no time.
MAX_TEXT, MAX_NUMBER = 1000, 32

Direction: TypeAlias = Literal["outbound", "inbound"]
Status: TypeAlias = Literal[
    "delivered", "failed", "in_transit", "sent", "cancelled", "retrying", "received", "unknown"
]
STATUSES: tuple[Status, ...] = get_args(Status)

#: The rank of the type of postback that a value comes from, and the value. The lowest wins.
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
    #: Rank of the postback type that each of the three above comes from: 0 sent, 1 receipt, 2 response.
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
    #: Ordered by (received_at, event_id).
    attempts: list[Attempt] = []
    receipts: list[ReceiptFact] = []
    replies: list[Reply] = []
    #: Messages in which the provider retried from another number, sorted.
    backup_message_ids: list[str] = []
    #: Outbound without any `sent` postback.
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


def merge(state: Message | None, postback: AnyPostback) -> Message:
    """Return the state including the postback; the same object if the postback adds nothing."""
    if state is None:
        return state_of(postback)
    after = _apply(copy(state), postback)
    return state if after == state else after


def state_of(postback: AnyPostback) -> Message:
    """Return the state that follows from this postback alone."""
    initial = Message(
        version=VERSION,
        message_id=postback.message_id,
        account=postback.account,
        direction="inbound",
        first_seen_at=postback.received_at,
        last_seen_at=postback.received_at,
    )
    return _apply(initial, postback)


def _apply(state: Message, postback: AnyPostback) -> Message:
    """Do `join(state, state_of(postback))` without a second state: modify `state`, but not its lists."""
    at = postback.received_at
    from_number, to_number = postback.from_number[:MAX_NUMBER], postback.to_number[:MAX_NUMBER]
    if isinstance(postback, Sent):
        rank = 0
        state.direction = "outbound"
        attempt = Attempt(
            received_at=at,
            event_id=postback.event_id,
            sent=postback.sent,
            occurred_at=postback.occurred_at,
        )
        state.attempts = with_fact(state.attempts, attempt)
        if postback.sent:
            state.sent_at = _earliest(state.sent_at, at)
    elif isinstance(postback, Receipt):
        rank = 1
        state.direction = "outbound"
        receipt = ReceiptFact(
            received_at=at,
            event_id=postback.event_id,
            code=postback.code[:MAX_NUMBER],
            text=postback.text[:MAX_TEXT],
            backup_message_id=postback.backup_message_id,
        )
        state.receipts = with_fact(state.receipts, receipt)
        if known := CODES.get(postback.code):
            if known.meaning == "delivered":
                state.delivered_at = _earliest(state.delivered_at, at)
            elif known.meaning == "failed":
                state.failed_at = _earliest(state.failed_at, at)
            else:
                state.carrier_at = _earliest(state.carrier_at, at)
    else:
        rank = 2
        reply = Reply(
            received_at=at,
            event_id=postback.event_id,
            text=postback.text[:MAX_TEXT],
            reply_id=postback.reply_id,
            occurred_at=postback.occurred_at,
        )
        state.replies = with_fact(state.replies, reply)
        if postback.matched:  # a reply travels in the opposite direction to the message it answers
            state.direction = "outbound"
            from_number, to_number = to_number, from_number
            state.replied_at = _earliest(state.replied_at, at)
    _merge_identity(state, (rank, postback.reference_id[:MAX_TEXT]), (rank, from_number), (rank, to_number))
    _widen_seen(state, at, at)
    return _derive(state)


def join(a: Message, b: Message) -> Message:
    """Return the least upper bound of two states; `a` itself if `b` adds nothing."""
    state = copy(a)
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
    _derive(state)
    return a if state == a else state


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


def _derive(state: Message) -> Message:
    """Set the fields that follow from the facts."""
    if state.receipts:
        if state.overdue_at is not None and state.receipts[0].received_at <= state.overdue_at:
            state.overdue_at = None
        backups = [receipt.backup_message_id for receipt in state.receipts if receipt.backup_message_id]
        if backups or state.backup_message_ids:
            state.backup_message_ids = sorted({*backups})
    state.orphan = state.direction == "outbound" and not state.attempts
    state.status = _status(state)
    return state


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
    return "received" if state.direction == "inbound" else "unknown"
