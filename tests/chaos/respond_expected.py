"""Which responses must be answered: a fold of what people wrote, without any code of the pipeline. Pure.

Responses of a handset are in several partitions, so those that come within seconds of each other may be
handled in any order. What depends on that order is not certain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.chaos.respond_texts import PERIODS, Meaning, meaning_of


class Written(NamedTuple):
    """A response, once per event."""

    event_id: str
    #: Canonical.
    handset: str
    own_number: str
    text: str
    is_reply: bool
    #: Seconds since 1970.
    received_at: float
    #: By the provider's clock, in ISO 8601.
    occurred_at: str


class Candidate(NamedTuple):
    """A response that a rule may answer."""

    written: Written
    rule: str
    #: Whether it must be, unless the rule has answered the handset within its period, or reached its cap.
    is_certain: bool


@dataclass(frozen=True)
class WantedAnswer:
    """At least one of these responses gets an answer: of one handset and rule, closer than its period."""

    rule: str
    event_ids: tuple[str, ...]


@dataclass(frozen=True)
class Expected:
    """What must be answered, and what may be, by event."""

    wanted: list[WantedAnswer]
    candidates: dict[str, Candidate]


def expect_answers(responses: Iterable[Written], margin: float, unclear: Collection[str] = ()) -> Expected:
    """Fold all responses of a run.

    Args:
        margin: seconds within which responses of a handset are handled in any order.
        unclear: handsets that the provider has refused to send to, as they may count as opted out.

    Raises:
        KeyError: a text that `respond_texts` does not list.
    """
    by_handset = defaultdict[str, list[Written]](list)
    for written in responses:
        by_handset[written.handset].append(written)
    candidates: dict[str, Candidate] = {}
    wanted: list[WantedAnswer] = []
    for handset, own in by_handset.items():
        found = list(_candidates(sorted(own, key=lambda each: each.received_at), margin, handset in unclear))
        candidates |= {each.written.event_id: each for each in found}
        wanted += _wanted(found, margin)
    return Expected(wanted, candidates)


def _candidates(responses: list[Written], margin: float, is_unclear: bool) -> Iterator[Candidate]:
    """The responses of a handset that may be answered, in order."""
    meanings = [meaning_of(each.text, each.own_number, each.is_reply, each.received_at) for each in responses]
    signals = [(each, meaning) for each, meaning in zip(responses, meanings, strict=True) if meaning.signal]
    for each, meaning in zip(responses, meanings, strict=True):
        if not meaning.rule:
            continue
        state = "unclear" if is_unclear else _state_at(each, signals, margin)
        if state != "blocking":
            yield Candidate(each, meaning.rule, meaning.is_certain and state != "unclear")


def _state_at(response: Written, signals: list[tuple[Written, Meaning]], margin: float) -> str:
    """What the handset has said until a response is handled: blocking, unclear, or anything else."""
    if all(meaning.signal == "opting_in" for _, meaning in signals):
        return ""
    said: list[tuple[str, bool]] = []
    for each, meaning in signals:
        if each is not response and each.received_at > response.received_at + margin:
            continue
        if each is not response and (
            meaning.signal == "unclear" or each.received_at > response.received_at - margin
        ):
            return "unclear"
        said.append((each.occurred_at, meaning.signal == "blocking"))  # of one second the opt-out counts
    return "blocking" if said and max(said)[1] else ""


def _wanted(candidates: list[Candidate], margin: float) -> Iterator[WantedAnswer]:
    """One answer per rule and group of responses that are closer than its period."""
    by_rule = defaultdict[str, list[Candidate]](list)
    for candidate in candidates:
        by_rule[candidate.rule].append(candidate)
    for rule, found in by_rule.items():
        group: list[Candidate] = []
        for candidate in found:
            if (
                group
                and candidate.written.received_at - group[-1].written.received_at > PERIODS[rule] + margin
            ):
                yield from _as_wanted(rule, group)
                group = []
            group.append(candidate)
        yield from _as_wanted(rule, group)


def _as_wanted(rule: str, group: list[Candidate]) -> Iterator[WantedAnswer]:
    if any(candidate.is_certain for candidate in group):
        yield WantedAnswer(rule, tuple(candidate.written.event_id for candidate in group))
