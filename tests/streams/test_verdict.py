"""The latest opt-out and opt-in in scope decide, and no opt-out is lost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from runtime.verdict import JUDGEMENTS, Policy, Verdict
from streams.contact import MAX_UNTIMED, Contact, join_contacts, merge_contact
from streams.contact_event import ContactEvent, Signal
from streams.verdict import verdict
from tests.support.contact_events import OWN_NUMBERS, contact_event, contact_events
from tests.support.postbacks import at

DEFAULT = Policy()
YES = Policy(yes_opts_in=True)
BY_NUMBER = Policy("number")
policies = st.builds(Policy, st.sampled_from(("number", "account")), st.booleans())
own_numbers = st.sampled_from((*OWN_NUMBERS, "4045550199"))
stories = st.lists(contact_events(), min_size=1, max_size=12)


def contact(*events: ContactEvent) -> Contact:
    state = reduce(merge_contact, events, None)
    assert state is not None
    return state


def judge(*events: ContactEvent, own_number: str = "", policy: Policy = DEFAULT) -> str:
    return verdict(contact(*events), own_number, policy).verdict


def start(event_id: str, second: float, **others: Any) -> ContactEvent:
    return contact_event(event_id, second, "opted_in", words="START", **others)


# -- which one decides


def test_unknown_contact_is_ok() -> None:
    assert verdict(None, "74121", DEFAULT) == Verdict("ok", None, "", "")


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (["opted_out"], "opted_out"),
        (["suspected"], "suspected"),
        (["opted_in"], "ok"),
        (["yes"], "ok"),
        (["opted_out", "opted_in"], "ok"),
        (["opted_in", "opted_out"], "opted_out"),
        (["opted_out", "suspected"], "opted_out"),
        (["suspected", "opted_in"], "ok"),
        (["opted_out", "opted_in", "suspected"], "suspected"),
        (["opted_out", "yes"], "opted_out"),
    ],
)
def test_latest_opt_out_or_opt_in_decides(signals: list[Signal], expected: str) -> None:
    events = [contact_event(f"e{second}", second, signal) for second, signal in enumerate(signals)]
    assert judge(*events) == judge(*reversed(events)) == expected


@pytest.mark.parametrize("policy", [DEFAULT, YES, BY_NUMBER])
@pytest.mark.parametrize("signal", ["opted_out", "suspected"])
def test_opt_out_wins_at_a_tie(policy: Policy, signal: Signal) -> None:
    tie = [contact_event("e1", 3, signal), start("e2", 3), contact_event("e3", 3, "yes")]
    assert judge(*tie, own_number="74121", policy=policy) == signal


def test_yes_opts_in_where_it_is_set() -> None:
    events = [contact_event("e1", 1), contact_event("e2", 2, "yes", words="yes")]
    assert (judge(*events), judge(*events, policy=YES)) == ("opted_out", "ok")


def test_delayed_start_lifts_no_later_stop() -> None:
    stop = contact_event("e1", 20, occurred_at=at(20))
    spooled = start("e2", 90, occurred_at=at(10))
    assert judge(stop, spooled) == "opted_out"


def test_delayed_stop_is_lifted_by_later_start() -> None:
    spooled = contact_event("e1", 90, occurred_at=at(10))
    assert judge(start("e2", 20, occurred_at=at(20)), spooled) == "ok"


def test_untimed_stop_counts_from_first_receipt() -> None:
    stop, again = (contact_event("e1", second, occurred_at=None) for second in (10, 90))
    assert judge(again, stop, start("e2", 20)) == "ok"
    assert judge(again, start("e2", 20)) == "opted_out"


def test_untimed_stops_beyond_the_cap_count() -> None:
    """From their last receipt, as the first one is not known: a repetition counts, too, and none is lost."""
    stops = [contact_event(f"e{n:03}", n, occurred_at=None) for n in range(MAX_UNTIMED + 1)]
    assert judge(*stops, start("s", 99.5)) == judge(*reversed(stops), start("s", 99.5)) == "opted_out"
    assert judge(*stops, start("s", 100.5)) == "ok"
    again = contact_event("e000", 200, occurred_at=None)
    assert judge(*stops[:-2], again, start("s", 100.5)) == "ok"
    assert judge(*stops, again, start("s", 100.5)) == "opted_out"


def test_untimed_start_lifts_nothing() -> None:
    assert judge(contact_event("e1", 1), start("e2", 9, occurred_at=None)) == "opted_out"


def test_blocked_send_outlasts_an_earlier_start() -> None:
    blocked = contact_event("e2", 9, source="submission", occurred_at=None)
    assert judge(start("e1", 5), blocked) == "opted_out"


# -- scope


def test_number_scope_keeps_own_numbers_apart() -> None:
    events = [contact_event("e1", 1, own_number="7575449510"), start("e2", 2, own_number="74121")]
    judgements = [judge(*events, own_number=own, policy=BY_NUMBER) for own in ("17575449510", "74121", "")]
    assert judgements == ["opted_out", "ok", "opted_out"]


def test_any_number_is_judged_as_the_severest() -> None:
    stops = [contact_event("e1", 1, own_number="7575449510"), contact_event("e2", 2, "suspected")]
    for opt_ins, expected in [
        ([start("e3", 3)], "opted_out"),
        ([start("e3", 3, own_number="7575449510")], "suspected"),
        ([start("e3", 3, own_number="7575449510"), start("e4", 4)], "ok"),
        ([start("e3", 3, own_number="")], "ok"),
    ]:
        assert judge(*stops, *opt_ins, policy=BY_NUMBER) == expected


def test_account_scope_joins_own_numbers() -> None:
    events = [contact_event("e1", 1, own_number="74121"), contact_event("e2", 2, own_number="7575449510")]
    assert judge(*events, start("e3", 3, own_number="74121"), own_number="7575449510") == "ok"
    assert judge(*events, own_number="4045550199") == "opted_out"


def test_unknown_own_number_counts_for_all() -> None:
    stop = contact_event("e1", 1, own_number="", occurred_at=None)
    assert judge(stop, own_number="74121", policy=BY_NUMBER) == "opted_out"


def test_deciding_mark_is_told() -> None:
    state = contact(contact_event("e1", 1, words="End"), contact_event("e2", 3, words="Stop!"))
    assert verdict(state, "", DEFAULT) == Verdict("opted_out", at(3), "Stop!", "74121")
    state = merge_contact(state, start("e3", 4, own_number=""))
    assert verdict(state, "", DEFAULT) == Verdict("ok", at(4), "START", "")


# -- against a plain evaluation of all events


def plain(events: Sequence[ContactEvent], own_number: str, policy: Policy) -> str:
    """The verdict from its definition, of all versions of all events, without a state."""
    if policy.scope == "number" and not own_number:
        numbers = {"4045550199", *(event.own_number for event in events)} - {""}
        return max((plain(events, each, policy) for each in numbers), key=JUDGEMENTS.index)
    times: dict[str, list[str]] = {"opted_out": [], "suspected": [], "in": [""]}
    own_numbers = {own_number, ""}
    if policy.scope == "account":
        own_numbers |= {event.own_number for event in events}
    for event in events:
        if event.signal in ("opted_out", "suspected"):
            if event.occurred_at is None:
                versions = [
                    other
                    for other in events
                    if (other.event_id, other.signal, other.occurred_at)
                    == (event.event_id, event.signal, None)
                ]
                first = min(versions, key=attrgetter("received_at", "own_number", "words"))
                if first.own_number in own_numbers:
                    times[event.signal].append(first.received_at)
            elif event.own_number in own_numbers:
                times[event.signal].append(event.occurred_at)
        elif (event.signal == "opted_in" or policy.yes_opts_in) and event.own_number in own_numbers:
            times["in"].append(event.occurred_at or "")
    latest = max(times["in"])
    return next((name for name in ("opted_out", "suspected") if any(t >= latest for t in times[name])), "ok")


@given(stories, own_numbers, policies)
def test_verdict_equals_that_of_all_events(
    story: list[ContactEvent], own_number: str, policy: Policy
) -> None:
    assert verdict(contact(*story), own_number, policy).verdict == plain(story, own_number, policy)


#: More facts than a state has, all before those of a story.
CROWD = contact(*(start(f"x{n:03}", n - 300, occurred_at=at(n - 300)) for n in range(200)))


@given(stories, st.integers(0, 40), own_numbers, policies, st.data())
def test_no_opt_out_is_lost(
    story: list[ContactEvent], second: int, own_number: str, policy: Policy, data: st.DataObject
) -> None:
    """Whatever 200 facts come before it, and wherever it is joined: none of the others opts in later."""
    stop = contact_event("stop", second, occurred_at=at(11), own_number=own_number)
    events = data.draw(st.permutations([*story, stop]))
    half = data.draw(st.integers(0, len(events)))
    a, b = reduce(merge_contact, events[:half], CROWD), reduce(merge_contact, events[half:], CROWD)
    for state in (join_contacts(a, b), join_contacts(b, a)):
        assert verdict(state, own_number, policy).verdict == "opted_out"


@given(stories, own_numbers, policies, st.data())
def test_words_of_another_worker_lift_nothing(
    story: list[ContactEvent], own_number: str, policy: Policy, data: st.DataObject
) -> None:
    """Another worker sees opt-outs in some of the same texts: the state of both is at least as severe.

    But for those without a time: an earlier version may be the opt-out, so that it counts from then.
    """
    more: list[Signal] = ["suspected", "opted_out"]
    seen = [
        replace(event, signal=data.draw(st.sampled_from(more)))
        for event in data.draw(st.lists(st.sampled_from(story)))
        if event.occurred_at is not None
    ]
    ours = contact(*story)
    both = reduce(merge_contact, seen, ours)
    before, after = (verdict(state, own_number, policy).verdict for state in (ours, both))
    assert JUDGEMENTS.index(after) >= JUDGEMENTS.index(before)
    assert both == contact(*seen, *story)
