"""Facts: what one event told of its message, and how lists of them join.

A list holds each event once, in the order of (received_at, event_id): the earliest FACTS_OF_A_KIND.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import astuple

from gateway.postback import Time

#: A cap, so that no message outgrows a Kafka record; it changes no status and no time.
FACTS_OF_A_KIND = 100


class Fact(Struct, kw_only=True, omit_defaults=True, gc=False):
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


F = TypeVar("F", bound=Fact)


def with_fact(facts: list[F], fact: F) -> list[F]:
    """The facts and this one, each once, in order, the earliest only; the very same list if it is not new."""
    if not facts:
        return [fact]
    for place, known in enumerate(facts):
        if known.event_id == fact.event_id:
            if known == fact or min(known, fact, key=_precedence) is known:
                return facts
            facts = facts[:place] + facts[place + 1 :]
            break
    return sorted([*facts, fact], key=_order)[:FACTS_OF_A_KIND]


def _order(fact: Fact) -> tuple[Time, str]:
    return fact.received_at, fact.event_id


def _precedence(fact: Fact) -> tuple[Any, ...]:
    """Of two tellings of one event the earlier; a better parser may tell the same one differently.

    Then field by field, as ClickHouse compares them, too; what is null counts as empty.
    """
    return fact.received_at, *("" if value is None else value for value in astuple(fact))
