"""The contract of a message: all that is known of one MessageID, as a join-semilattice.

A state is a set of facts (by `event_id`) and what follows from the set. `join` is commutative, associative
and idempotent, so that duplicates, any order, replays and partial states all come to the same end;
ClickHouse does the same join (`sinks/schema`), and a test holds the two against each other. The topic is
compacted: the last record of a key is its whole state as one worker knew it, a tombstone (no value) says
that streams let go of it, and whoever wants to be exact joins what he reads.

This file decides what a state is and how states join. When a message is overdue or let go is decided in
`streams/deadline.py`.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Literal, TypeAlias, TypeVar

from msgspec import DecodeError, Struct, json
from msgspec.structs import astuple

from gateway.postback import AnyPostback, Receipt, Sent, Time
from runtime.errors import Refused
from streams.receipt import CODES

MESSAGES = "messages"
#: Of this format. A worker refuses a newer one, so that a rolling upgrade loses no field.
VERSION = 1
#: Caps, so that no message outgrows a Kafka record; they change no status and no time.
FACTS_OF_A_KIND, CHARACTERS, DIGITS = 100, 1000, 32

Direction: TypeAlias = Literal["outbound", "inbound"]
Status: TypeAlias = Literal[
    "delivered", "failed", "in_transit", "sent", "cancelled", "retrying", "received", "unknown"
]
STATUSES: tuple[Status, ...] = (
    "delivered", "failed", "in_transit", "sent", "cancelled", "retrying", "received", "unknown",
)  # fmt: skip


class Fact(Struct, kw_only=True, omit_defaults=True):
    """One event. The same one twice is one fact, at the earliest `received_at`."""

    received_at: Time
    event_id: str


class Attempt(Fact):
    """The provider handed the message on (`sent`), or was refused."""

    sent: bool
    occurred_at: Time | None = None


class ReceiptFact(Fact):
    code: str
    text: str = ""
    backup_message_id: str | None = None


class Reply(Fact):
    text: str = ""
    reply_id: str | None = None
    occurred_at: Time | None = None


class Message(Struct, kw_only=True, omit_defaults=True):
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


class NewerVersion(Refused):
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
    seen = state_of(postback)
    return seen if state is None else join(state, seen)


def state_of(postback: AnyPostback) -> Message:
    """All that one postback alone tells about its message."""
    at = postback.received_at
    state = Message(
        version=VERSION,
        message_id=postback.message_id,
        account=postback.account,
        direction="outbound",
        reference_id=postback.reference_id[:CHARACTERS],
        from_number=postback.from_number[:DIGITS],
        to_number=postback.to_number[:DIGITS],
        first_seen_at=at,
        last_seen_at=at,
    )
    if isinstance(postback, Sent):
        state.attempts = [
            Attempt(
                received_at=at,
                event_id=postback.event_id,
                sent=postback.sent,
                occurred_at=postback.occurred_at,
            )
        ]
        if postback.sent:
            state.sent_at = at
    elif isinstance(postback, Receipt):
        _rank(state, 1)
        state.receipts = [
            ReceiptFact(
                received_at=at,
                event_id=postback.event_id,
                code=postback.code[:DIGITS],
                text=postback.text[:CHARACTERS],
                backup_message_id=postback.backup_message_id,
            )
        ]
        if known := CODES.get(postback.code):
            if known.meaning == "delivered":
                state.delivered_at = at
            elif known.meaning == "failed":
                state.failed_at = at
            else:
                state.carrier_at = at
    else:
        state.replies = [
            Reply(
                received_at=at,
                event_id=postback.event_id,
                text=postback.text[:CHARACTERS],
                reply_id=postback.reply_id,
                occurred_at=postback.occurred_at,
            )
        ]
        if postback.matched:  # a reply travels the other way than the message it answers
            state.from_number, state.to_number = state.to_number, state.from_number
            state.replied_at = at
        else:
            state.direction = "inbound"
        _rank(state, 2)
    return _conclude(state)


def join(a: Message, b: Message) -> Message:
    """The least state that knows all that either knows. `a` itself when `b` adds nothing."""
    state = copy(a)
    if b.direction == "outbound":
        state.direction = "outbound"
    if b.reference_id and (
        not a.reference_id or (b.reference_rank, b.reference_id) < (a.reference_rank, a.reference_id)
    ):
        state.reference_id, state.reference_rank = b.reference_id, b.reference_rank
    if b.from_number and (not a.from_number or (b.from_rank, b.from_number) < (a.from_rank, a.from_number)):
        state.from_number, state.from_rank = b.from_number, b.from_rank
    if b.to_number and (not a.to_number or (b.to_rank, b.to_number) < (a.to_rank, a.to_number)):
        state.to_number, state.to_rank = b.to_number, b.to_rank
    state.first_seen_at = min(a.first_seen_at, b.first_seen_at)
    state.last_seen_at = max(a.last_seen_at, b.last_seen_at)
    state.sent_at = _earliest(a.sent_at, b.sent_at)
    state.carrier_at = _earliest(a.carrier_at, b.carrier_at)
    state.delivered_at = _earliest(a.delivered_at, b.delivered_at)
    state.failed_at = _earliest(a.failed_at, b.failed_at)
    state.replied_at = _earliest(a.replied_at, b.replied_at)
    state.overdue_at = _earliest(a.overdue_at, b.overdue_at)
    state.attempts = _union(a.attempts, b.attempts)
    state.receipts = _union(a.receipts, b.receipts)
    state.replies = _union(a.replies, b.replies)
    _conclude(state)
    return a if state == a else state


def _rank(state: Message, rank: int) -> None:
    """Note the type of postback that the values are from; an empty one is from nobody."""
    state.reference_rank = rank if state.reference_id else 0
    state.from_rank = rank if state.from_number else 0
    state.to_rank = rank if state.to_number else 0


F = TypeVar("F", bound=Fact)


def _union(a: list[F], b: list[F]) -> list[F]:
    """The facts of both, each once, in order, the earliest only."""
    if not b or a == b:
        return a
    if not a:
        return b
    facts = {fact.event_id: fact for fact in a}
    for fact in b:
        known = facts.get(fact.event_id)
        facts[fact.event_id] = fact if known is None else min(known, fact, key=_precedence)
    return sorted(facts.values(), key=_order)[:FACTS_OF_A_KIND]


def _order(fact: Fact) -> tuple[Time, str]:
    return fact.received_at, fact.event_id


def _precedence(fact: Fact) -> tuple[Any, ...]:
    """Of two tellings of one event the earlier; a better parser may tell the same one differently.

    Then field by field, as ClickHouse compares them, too; what is null counts as empty.
    """
    return fact.received_at, *("" if value is None else value for value in astuple(fact))


def _earliest(a: Time | None, b: Time | None) -> Time | None:
    if a is None or (b is not None and b < a):
        return b
    return a


def _conclude(state: Message) -> Message:
    """Set what follows from the facts."""
    if state.overdue_at is not None and state.receipts and state.receipts[0].received_at <= state.overdue_at:
        state.overdue_at = None
    if state.backup_message_ids or any(receipt.backup_message_id for receipt in state.receipts):
        state.backup_message_ids = sorted(
            {receipt.backup_message_id for receipt in state.receipts if receipt.backup_message_id}
        )
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
