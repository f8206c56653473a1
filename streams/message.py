"""The contract of a message: all that is known of one MessageID, as a join-semilattice.

A state is a set of facts (by `event_id`) and what follows from the set. `join` is commutative, associative
and idempotent, so that duplicates, any order, replays and partial states all come to the same end;
ClickHouse does the same join (`sinks/schema`), and a test holds the two against each other. The topic is
compacted: the last record of a key is its whole state as one worker knew it, a tombstone (no value) says
that streams let go of it, and whoever wants to be exact joins what he reads.

This file decides what a state is and how states join; how lists of facts join is in `streams/facts.py`, when
a message is overdue or let go in `streams/expiry.py`.
"""

from __future__ import annotations

from copy import copy
from functools import reduce
from typing import Literal, TypeAlias

from msgspec import DecodeError, Struct, json

from gateway.postback import AnyPostback, Receipt, Sent, Time
from runtime.errors import StartupError
from streams.facts import FACTS_OF_A_KIND as FACTS_OF_A_KIND
from streams.facts import Attempt as Attempt
from streams.facts import ReceiptFact as ReceiptFact
from streams.facts import Reply as Reply
from streams.facts import with_fact
from streams.receipt_codes import CODES

MESSAGES = "messages"
#: Of this format. A worker refuses a newer one, so that a rolling upgrade loses no field.
VERSION = 1
#: Caps, so that no message outgrows a Kafka record; they change no status and no time.
CHARACTERS, DIGITS = 1000, 32

Direction: TypeAlias = Literal["outbound", "inbound"]
Status: TypeAlias = Literal[
    "delivered", "failed", "in_transit", "sent", "cancelled", "retrying", "received", "unknown"
]
STATUSES: tuple[Status, ...] = (
    "delivered", "failed", "in_transit", "sent", "cancelled", "retrying", "received", "unknown",
)  # fmt: skip


class Message(Struct, kw_only=True, omit_defaults=True, gc=False):
    """The state of one message. What is null, empty or false is left out of the JSON.

    `*_at` are the least `received_at` of such facts: our clock; the provider's times are in the facts.
    """

    version: int
    message_id: str
    account: str
    direction: Direction
    status: Status = "unknown"
    reference_id: str = ""
    from_number: str = ""
    to_number: str = ""
    #: Which type of postback the three above are from: 0 sent, 1 receipt, 2 response.
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
    #: In the order of (received_at, event_id).
    attempts: list[Attempt] = []
    receipts: list[ReceiptFact] = []
    replies: list[Reply] = []
    #: The messages with which the provider tried again from another number, in order.
    backup_message_ids: list[str] = []
    #: Outbound, but nobody ever saw it sent.
    orphan: bool = False


class NewerVersion(StartupError):
    """A state was written by newer code; to merge into it would lose what that code knows."""


_decoder = json.Decoder(Message)
encode_message = json.Encoder().encode


def decode_message(value: bytes) -> Message:
    """Read a record's value.

    Raises:
        NewerVersion: it is of a newer format than this code knows.
        msgspec.DecodeError: it is not a message.
    """
    try:
        message = _decoder.decode(value)
    except UnicodeDecodeError as error:
        raise DecodeError(str(error)) from None
    if message.version > VERSION:
        raise NewerVersion(
            f"a message has format {message.version}, this code knows up to {VERSION}: upgrade it"
        )
    return message


def merge(state: Message | None, postback: AnyPostback) -> Message:
    """What is known after the postback. The very same object when that is nothing new."""
    if state is None:
        return state_of(postback)
    after = _learn(copy(state), postback)
    return state if after == state else after


def state_of(postback: AnyPostback) -> Message:
    """All that one postback alone tells about its message."""
    nothing = Message(
        version=VERSION,
        message_id=postback.message_id,
        account=postback.account,
        direction="inbound",
        first_seen_at=postback.received_at,
        last_seen_at=postback.received_at,
    )
    return _learn(nothing, postback)


def _learn(state: Message, postback: AnyPostback) -> Message:
    """`join(state, state_of(postback))` without a second state; changes `state` itself, but not its lists."""
    at = postback.received_at
    from_number, to_number = postback.from_number[:DIGITS], postback.to_number[:DIGITS]
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
            code=postback.code[:DIGITS],
            text=postback.text[:CHARACTERS],
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
            text=postback.text[:CHARACTERS],
            reply_id=postback.reply_id,
            occurred_at=postback.occurred_at,
        )
        state.replies = with_fact(state.replies, reply)
        if postback.matched:  # a reply travels the other way than the message it answers
            state.direction = "outbound"
            from_number, to_number = to_number, from_number
            state.replied_at = _earliest(state.replied_at, at)
    _name(state, postback.reference_id[:CHARACTERS], rank, from_number, rank, to_number, rank)
    _see(state, at, at)
    return _conclude(state)


def join(a: Message, b: Message) -> Message:
    """The least state that knows all that either knows. `a` itself when `b` adds nothing."""
    state = copy(a)
    if b.direction == "outbound":
        state.direction = "outbound"
    _name(state, b.reference_id, b.reference_rank, b.from_number, b.from_rank, b.to_number, b.to_rank)
    _see(state, b.first_seen_at, b.last_seen_at)
    state.sent_at = _earliest(a.sent_at, b.sent_at)
    state.carrier_at = _earliest(a.carrier_at, b.carrier_at)
    state.delivered_at = _earliest(a.delivered_at, b.delivered_at)
    state.failed_at = _earliest(a.failed_at, b.failed_at)
    state.replied_at = _earliest(a.replied_at, b.replied_at)
    state.overdue_at = _earliest(a.overdue_at, b.overdue_at)
    state.attempts = reduce(with_fact, b.attempts, a.attempts)
    state.receipts = reduce(with_fact, b.receipts, a.receipts)
    state.replies = reduce(with_fact, b.replies, a.replies)
    _conclude(state)
    return a if state == a else state


def _name(
    state: Message,
    reference_id: str,
    reference_rank: int,
    from_number: str,
    from_rank: int,
    to_number: str,
    to_rank: int,
) -> None:
    """Take over what is better founded than the state's own; an empty value is from nobody, so of rank 0."""
    if reference_id and (
        not state.reference_id or (reference_rank, reference_id) < (state.reference_rank, state.reference_id)
    ):
        state.reference_id, state.reference_rank = reference_id, reference_rank
    if from_number and (
        not state.from_number or (from_rank, from_number) < (state.from_rank, state.from_number)
    ):
        state.from_number, state.from_rank = from_number, from_rank
    if to_number and (not state.to_number or (to_rank, to_number) < (state.to_rank, state.to_number)):
        state.to_number, state.to_rank = to_number, to_rank


def _see(state: Message, first: Time, last: Time) -> None:
    if first < state.first_seen_at:
        state.first_seen_at = first
    if last > state.last_seen_at:
        state.last_seen_at = last


def _earliest(a: Time | None, b: Time | None) -> Time | None:
    if a is None or (b is not None and b < a):
        return b
    return a


def _conclude(state: Message) -> Message:
    """Set what follows from the facts."""
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
    """The best-founded first; never by arrival."""
    if state.delivered_at is not None:
        return "delivered"
    if state.failed_at is not None:
        return "failed"
    if state.carrier_at is not None:
        return "in_transit"
    if state.sent_at is not None:
        return "sent"
    if state.attempts:  # none of them sent, so each is a refusal, and the provider gives up after the third
        return "cancelled" if len(state.attempts) >= 3 else "retrying"
    return "received" if state.direction == "inbound" else "unknown"
