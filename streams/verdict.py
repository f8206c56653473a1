"""Whether a number may be written to, derived from its state. Pure, and never stored.

The latest opt-out, suspected opt-out and opt-in in scope decide; at a tie the opt-out wins. Readers may have
different policies: the state has what all of them need.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple, TypeAlias, get_args

from gateway.postback import Time
from runtime.phone_number import canonical
from streams.contact import Contact, Mark, marks_of
from streams.contact_event import Signal

Judgement: TypeAlias = Literal["ok", "suspected", "opted_out"]
JUDGEMENTS: tuple[Judgement, ...] = get_args(Judgement)
Scope: TypeAlias = Literal["number", "account"]


class Policy(NamedTuple):
    """What counts: POSTBACKS_OPT_OUT_SCOPE and POSTBACKS_YES_OPTS_IN."""

    scope: Scope = "account"
    yes_opts_in: bool = False


class Verdict(NamedTuple):
    """The judgement, and time, words and own number of the mark that decides it; empty if none does."""

    verdict: Judgement
    since: Time | None = None
    words: str = ""
    own_number: str = ""


def verdict(contact: Contact | None, own_number: str, policy: Policy) -> Verdict:
    """Whether `own_number` (empty: any of ours) may write to a contact; None is one that nothing is known of.

    An event whose own number is unknown counts for all of them.
    """
    if contact is None:
        return Verdict("ok")
    marks = list(_in_scope(contact, canonical(own_number), policy.scope))
    opted_out, suspected = _latest(marks, {"opted_out"}), _latest(marks, {"suspected"})
    opted_in = _latest(marks, {"opted_in", "yes"} if policy.yes_opts_in else {"opted_in"})
    since = opted_in.at if opted_in else ""
    if opted_out and opted_out.at >= since:
        return _verdict("opted_out", opted_out)
    if suspected and suspected.at >= since:
        return _verdict("suspected", suspected)
    return _verdict("ok", opted_in) if opted_in else Verdict("ok")


def _in_scope(contact: Contact, own_number: str, scope: Scope) -> Iterator[Mark]:
    everywhere = scope == "account" or not own_number
    return (mark for mark in marks_of(contact) if everywhere or mark.own_number in (own_number, ""))


def _latest(marks: Collection[Mark], signals: Collection[Signal]) -> Mark | None:
    """The latest; of those at the same time the greatest id, words and own number, as in ClickHouse."""
    return max(
        (mark for mark in marks if mark.signal in signals),
        key=lambda mark: (mark.at, mark.event_id, mark.words, mark.own_number),
        default=None,
    )


def _verdict(judgement: Judgement, mark: Mark) -> Verdict:
    return Verdict(judgement, mark.at, mark.words, mark.own_number)
