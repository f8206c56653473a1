"""A contact as text: verdicts for each of our numbers, and all it said."""

from __future__ import annotations

import io
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from operations.contact import entries_of, render_contact, verdicts_of
from runtime.verdict import Policy
from streams.contact import Contact, join_contacts, marks_of, merge_contact
from streams.contact_event import ContactEvent
from streams.verdict import verdict
from tests.support.contact_events import contact_event, contact_events
from tests.support.postbacks import MESSAGE_ID, at

POLICIES = [Policy("account"), Policy("number"), Policy("number", yes_opts_in=True)]


def contact(*events: ContactEvent) -> Contact:
    return reduce(join_contacts, (merge_contact(None, event) for event in events))


def page(known: Contact, policy: Policy = POLICIES[0], sender: str = "") -> str:
    file = io.StringIO()
    Console(file=file, width=80, highlight=False, markup=False).print(render_contact(known, policy, sender))
    return file.getvalue()


def words_of(text: str) -> str:
    return " ".join(text.split())


@given(st.lists(contact_events(), min_size=1, max_size=12), st.sampled_from(POLICIES))
def test_verdicts_are_those_of_the_contract(events: list[ContactEvent], policy: Policy) -> None:
    known = contact(*events)
    found = verdicts_of(known, policy)
    marked = {mark.own_number for mark in marks_of(known)} | {fact.own_number for fact in known.facts}
    assert [own for own, _ in found] == ["", *sorted(marked - {""})]
    assert all(judged == verdict(known, own, policy) for own, judged in found)
    assert verdicts_of(known, policy, "42") == [("42", verdict(known, "42", policy))]


def test_page_has_verdict_words_and_sources() -> None:
    known = contact(
        contact_event("e1", 1, words="Stop\x1b.", message_id=MESSAGE_ID),
        contact_event("e2", 2, "opted_in", own_number="7575449510", words="START", occurred_at=at(3)),
        contact_event("e3", 4, words="", own_number="", source="import", source_name="crm", occurred_at=None),
    )
    text = words_of(page(known, Policy("number")))
    assert text.startswith("Contact 7575550100 opted_out account acme meaning must not be written to")
    assert "from any of our numbers opted_out since 2026-11-23 12:00:04.000 no words" in text
    assert "from 74121 opted_out since 2026-11-23 12:00:04.000" in text
    assert f"2026-11-23 12:00:01.000 opted_out “Stop\\x1b.” to 74121 reply {MESSAGE_ID}" in text
    assert "opted_in “START” to 7575449510 reply provider's clock 2026-11-23 12:00:03.000" in text
    assert text.endswith("2026-11-23 12:00:04.000 opted_out no words import crm")


def test_page_fits_80_columns() -> None:
    known = contact(
        contact_event("e1", words="x" * 160, source="import", source_name="s" * 64, own_number="7" * 32),
        contact_event("e2", 1, words="stop " * 32, message_id=MESSAGE_ID, source="submission"),
    )
    assert max(map(len, page(known).splitlines())) <= 80


def test_events_beyond_the_first_hundred_are_shown() -> None:
    known = contact(
        *(contact_event(f"e{n}", n) for n in range(100)),
        contact_event("last", 200, words="the last"),
        contact_event("untimed", 201, words="untimed", occurred_at=None),
    )
    entries = entries_of(known)
    assert len(entries) == 102
    assert [entry.details[0] for entry in entries[-2:]] == ["“the last” to 74121", "“untimed” to 74121"]
    assert entries[-1].details[1] == "of more than 100 events only the latest are known"
