"""Facts: what one event contributes to its message or contact, and how lists of facts join.

A list holds each event once, ordered by (received_at, event_id): the earliest MAX_FACTS_PER_KIND of them.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import astuple

from gateway.postback import Time

#: Keeps a message below Kafka's record limit; affects no status and no time.
MAX_FACTS_PER_KIND = 100


class Fact(Struct, kw_only=True, omit_defaults=True, gc=False):
    """One event. Repetitions are one fact, at the earliest `received_at`."""

    received_at: Time
    event_id: str

    def precedence(self) -> tuple[Any, ...]:
        """Order versions of one event: the earliest wins. A newer parser may extract other fields from it.

        Ties are broken field by field, as in ClickHouse; null compares as empty.
        """
        return self.received_at, *("" if value is None else value for value in astuple(self))


class Attempt(Fact):
    """The provider handed the message on (`sent`), or it was refused."""

    sent: bool
    occurred_at: Time | None = None


class ReceiptFact(Fact):
    """A delivery receipt."""

    code: str
    text: str = ""
    backup_message_id: str | None = None


class Reply(Fact):
    """A response: the recipient's answer, or an inbound message."""

    text: str = ""
    reply_id: str | None = None
    occurred_at: Time | None = None


class SubmissionFact(Fact):
    """The provider's answer to the send; without what its request adds, which no event_id identifies."""

    queued: bool
    #: Name of SMSError, or its number if that is not listed; empty if it is NoError.
    error: str = ""
    cancelled: bool = False


F = TypeVar("F", bound=Fact)


def with_fact(facts: list[F], fact: F) -> list[F]:
    """Return the list including the fact, ordered and capped; the same object if the fact adds nothing."""
    if not facts:
        return [fact]
    for index, known in enumerate(facts):
        if known.event_id == fact.event_id:
            if known == fact or known.precedence() <= fact.precedence():
                return facts
            facts = facts[:index] + facts[index + 1 :]
            break
    return sorted([*facts, fact], key=_order)[:MAX_FACTS_PER_KIND]


def _order(fact: Fact) -> tuple[Time, str]:
    return fact.received_at, fact.event_id
