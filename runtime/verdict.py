"""Whether a number may be written to, derived from what it said. Pure.

The latest opt-out, suspected opt-out and opt-in in scope decide; at a tie the opt-out wins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple, TypeAlias, get_args

from runtime.phone_number import canonical

Judgement: TypeAlias = Literal["ok", "suspected", "opted_out"]
JUDGEMENTS: tuple[Judgement, ...] = get_args(Judgement)
Scope: TypeAlias = Literal["number", "account"]


class DatedSignal(NamedTuple):
    """A signal of a contact, and the event that it comes from. Their order is that of the fields."""

    #: By the provider's clock, or when it was first received if that is unknown.
    at: str
    event_id: str
    words: str
    #: Ours; canonical, empty if unknown.
    own_number: str
    #: opted_in, yes, suspected or opted_out.
    signal: str


class Policy(NamedTuple):
    """What counts: POSTBACKS_OPT_OUT_SCOPE and POSTBACKS_YES_OPTS_IN."""

    scope: Scope = "account"
    yes_opts_in: bool = False


class Verdict(NamedTuple):
    """The judgement, and time, words and own number of the signal that decides it; empty if none does."""

    verdict: Judgement
    since: str | None = None
    words: str = ""
    own_number: str = ""


def judge(signals: Iterable[DatedSignal], own_number: str, policy: Policy) -> Verdict:
    """Whether `own_number` (empty: any of ours) may write to a contact.

    An event whose own number is unknown counts for all of them. For any of ours an opt-out at one counts
    until an opt-in that counts for the same one.

    Args:
        signals: at least the latest of each signal and own number.
    """
    own_number = canonical(own_number)
    by_number = policy.scope == "number"
    counting = [
        signal
        for signal in signals
        if not (by_number and own_number) or signal.own_number in (own_number, "")
    ]
    opt_ins = {"opted_in", "yes"} if policy.yes_opts_in else {"opted_in"}
    is_apart = by_number and not own_number
    lifted_at: dict[str, str] = {}
    for signal in counting:
        if signal.signal in opt_ins:
            scope = signal.own_number if is_apart else ""
            lifted_at[scope] = max(signal.at, lifted_at.get(scope, ""))
    in_force = [
        signal
        for signal in counting
        if signal.at >= max(lifted_at.get("", ""), lifted_at.get(signal.own_number, "") if is_apart else "")
    ]
    if opted_out := _latest(in_force, {"opted_out"}):
        return _verdict("opted_out", opted_out)
    if suspected := _latest(in_force, {"suspected"}):
        return _verdict("suspected", suspected)
    opted_in = _latest(counting, opt_ins)
    return _verdict("ok", opted_in) if opted_in else Verdict("ok")


def _latest(signals: Iterable[DatedSignal], kinds: Collection[str]) -> DatedSignal | None:
    """The latest; of those at the same time the greatest id, words and own number, as in ClickHouse."""
    return max((signal for signal in signals if signal.signal in kinds), default=None)


def _verdict(judgement: Judgement, signal: DatedSignal) -> Verdict:
    return Verdict(judgement, signal.at, signal.words, signal.own_number)
