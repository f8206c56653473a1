"""A contact's state is the same for any order, repetition and split of its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import DecodeError, json
from msgspec.structs import replace

from streams.contact import (
    CONTACT_VERSION,
    Contact,
    ContactFact,
    Mark,
    Untimed,
    decode_contact,
    encode_contact,
    join_contacts,
    merge_contact,
)
from streams.contact_event import OPT_OUTS, SEVERITY, ContactEvent, Signal
from streams.versions import NewerVersion
from tests.support.contact_events import contact_event, contact_events
from tests.support.postbacks import at


def fold(events: Sequence[ContactEvent]) -> Contact:
    state = reduce(merge_contact, events, None)
    assert state is not None
    return state


def rank(event: ContactEvent) -> tuple[str | int, ...]:
    """The earliest version of an event is its fact; of those at the same time the severest."""
    content = (event.words, event.own_number, event.source, event.source_name)
    return (
        event.received_at,
        -SEVERITY[event.signal],
        *content,
        event.occurred_at or "",
        event.message_id or "",
    )


def plain(events: Sequence[ContactEvent]) -> Contact:
    """The state of all these events, from its definition: without a join, and from all of them at once."""
    facts, untimed = [], []
    for event_id in {event.event_id for event in events}:
        versions = [event for event in events if event.event_id == event_id]
        version = min(versions, key=rank)
        facts.append(ContactFact(**{name: getattr(version, name) for name in ContactFact.__struct_fields__}))
        for signal in OPT_OUTS:
            if versions_of_signal := [e for e in versions if e.signal == signal and e.occurred_at is None]:
                version = min(versions_of_signal, key=attrgetter("received_at", "own_number", "words"))
                untimed.append(
                    Untimed(**{name: getattr(version, name) for name in Untimed.__struct_fields__})
                )
    timed = [(event, event.occurred_at) for event in events if event.occurred_at is not None]
    received = [(event, event.received_at) for event in events if event.occurred_at is None]
    return Contact(
        version=CONTACT_VERSION,
        account=events[0].account,
        number=events[0].number,
        first_seen_at=min(event.received_at for event in events),
        last_seen_at=max(event.received_at for event in events),
        facts=sorted(facts, key=attrgetter("received_at", "event_id"))[:100],
        latest=plain_marks(timed),
        untimed=sorted(untimed, key=lambda e: (e.received_at, e.event_id, SEVERITY[e.signal]))[:100],
        untimed_latest=plain_marks((event, when) for event, when in received if event.signal in OPT_OUTS),
    )


def plain_marks(timed: Iterable[tuple[ContactEvent, str]]) -> list[Mark]:
    by_key: defaultdict[tuple[str, Signal], list[tuple[str, str, str]]] = defaultdict(list)
    for event, when in timed:
        by_key[event.own_number, event.signal].append((when, event.event_id, event.words))
    latest = {key: max(found) for key, found in sorted(by_key.items())}
    return [
        Mark(own_number=own_number, signal=signal, at=when, event_id=event_id, words=words)
        for (own_number, signal), (when, event_id, words) in latest.items()
    ]


stories = st.lists(contact_events(), min_size=1, max_size=15)


def crowd(first: float, timed: bool) -> Iterator[ContactEvent]:
    for n in range(110):
        event = contact_event(f"x{n}", first + n * 0.01)
        yield event if timed else replace(event, occurred_at=None)


#: Of more events than a state has facts, a few of them repeated with other times and signals.
long_stories = st.builds(
    lambda first, timed, story: [*crowd(first, timed), *story],
    st.integers(0, 30),
    st.booleans(),
    st.lists(contact_events(seconds=40), max_size=15),
)


@given(st.one_of(stories, long_stories), st.data())
def test_any_order_and_repetition_gives_same_state(story: list[ContactEvent], data: st.DataObject) -> None:
    repeated = story + data.draw(st.lists(st.sampled_from(story), max_size=5))
    shuffled = data.draw(st.randoms(use_true_random=False))
    shuffled.shuffle(repeated)
    assert fold(repeated) == plain(story)


@given(st.one_of(stories, long_stories), st.data())
def test_partial_states_join_to_state_of_all(story: list[ContactEvent], data: st.DataObject) -> None:
    owners = data.draw(st.lists(st.integers(0, 3), min_size=len(story), max_size=len(story)))
    parts = [[event for event, owner in zip(story, owners, strict=True) if owner == n] for n in range(4)]
    states = data.draw(st.permutations([fold(part) for part in parts if part]))
    overlapping = [*states, fold(story[: len(story) // 2 + 1])]
    assert reduce(join_contacts, overlapping) == plain(story)


@given(stories, stories, stories)
def test_join_of_contacts_is_associative(
    a: list[ContactEvent], b: list[ContactEvent], c: list[ContactEvent]
) -> None:
    x, y, z = fold(a), fold(b), fold(c)
    assert join_contacts(join_contacts(x, y), z) == join_contacts(x, join_contacts(y, z))


@given(st.one_of(stories, long_stories), st.data())
def test_known_events_leave_the_same_object(story: list[ContactEvent], data: st.DataObject) -> None:
    state = fold(story)
    known = data.draw(st.lists(st.sampled_from(story)))
    assert reduce(merge_contact, known, state) is state
    assert join_contacts(state, fold(story)) is state


def test_joining_modifies_neither_state() -> None:
    a, b = (
        fold([contact_event("e1", 1)]),
        fold([contact_event("e2", 2), contact_event("e3", occurred_at=None)]),
    )
    before = encode_contact(a), encode_contact(b)
    assert len(join_contacts(a, b).facts) == 3
    assert (encode_contact(a), encode_contact(b)) == before


@given(stories)
def test_contact_survives_encoding(story: list[ContactEvent]) -> None:
    assert decode_contact(encode_contact(fold(story))) == fold(story)


def test_contact_of_newer_format_is_refused() -> None:
    state = fold([contact_event()])
    with pytest.raises(NewerVersion, match="format 2"):
        decode_contact(encode_contact(replace(state, version=2)))


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"{}", b'{"version":1}', b"[" * 100_000])
def test_contact_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_contact(value)


def test_empty_fields_of_contacts_are_omitted() -> None:
    event = contact_event(own_number="", occurred_at=None, signal="opted_in", words="START")
    assert json.decode(encode_contact(fold([event]))) == {
        "version": 1,
        "account": "acme",
        "number": "7575550100",
        "first_seen_at": at(0),
        "last_seen_at": at(0),
        "facts": [
            {
                "received_at": at(0),
                "event_id": "e1",
                "signal": "opted_in",
                "words": "START",
                "source": "response",
            }
        ],
    }


# -- what the state keeps


def test_deciding_opt_out_survives_the_cap() -> None:
    events = [contact_event(f"e{n:03}", n, "opted_in" if n < 199 else "opted_out") for n in range(200)]
    state = fold(events)
    assert len(state.facts) == 100
    assert {mark.signal: mark.at for mark in state.latest} == {"opted_in": at(198), "opted_out": at(199)}


def test_latest_untimed_opt_out_survives_the_cap() -> None:
    state = fold([contact_event(f"e{n:03}", n, occurred_at=None) for n in range(200)])
    assert (len(state.facts), len(state.untimed), state.latest) == (100, 100, [])
    assert [(mark.signal, mark.at) for mark in state.untimed_latest] == [("opted_out", at(199))]


@pytest.mark.parametrize("signal", ["opted_in", "yes"])
def test_untimed_opt_in_is_a_fact_only(signal: str) -> None:
    state = fold([contact_event(signal=signal, occurred_at=None)])  # type: ignore[arg-type]
    assert (len(state.facts), state.latest, state.untimed) == (1, [], [])


def test_untimed_opt_out_counts_from_first_receipt() -> None:
    later, first = contact_event("e1", 9, occurred_at=None), contact_event("e1", 3, occurred_at=None)
    assert [event.received_at for event in fold([later, first]).untimed] == [at(3)]


def test_untimed_opt_out_counts_from_its_signal() -> None:
    first = contact_event("e1", 3, "suspected", own_number="9", occurred_at=None)
    later = contact_event("e1", 9, own_number="1", occurred_at=None)
    state = fold([later, first])
    assert state == fold([first, later, first])
    assert [(e.own_number, e.received_at, e.signal) for e in state.untimed] == [
        ("9", at(3), "suspected"),
        ("1", at(9), "opted_out"),
    ]


def test_severer_signal_of_another_worker_wins() -> None:
    weak, strong = contact_event("e1", 3, "suspected"), contact_event("e1", 3, "opted_out")
    for events in ([weak, strong], [strong, weak]):
        state = fold(events)
        assert [fact.signal for fact in state.facts] == ["opted_out"]
        assert [mark.signal for mark in state.latest] == ["opted_out", "suspected"]
