"""The view `contact_verdicts`, the gateway's lookup and `streams/verdict.py` agree on each contact."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import reduce
from itertools import product
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace
from pydantic import SecretStr

from gateway.contacts.query import SETTINGS, find_signals
from runtime.clickhouse.lookup_client import LookupClient
from runtime.verdict import DatedSignal, Policy, Scope, Verdict, judge
from streams.contact import CONTACTS, MAX_UNTIMED, Contact, encode_contact, marks_of, merge_contact
from streams.contact_event import ContactEvent
from streams.verdict import verdict
from tests.support.contact_events import OWN_NUMBERS, SIGNALS, contact_event, contact_events
from tests.support.postbacks import at
from tests.support.sinks import insert_values

SCOPES: tuple[Scope, ...] = ("number", "account")
POLICIES = [Policy(scope, yes) for scope, yes in product(SCOPES, (False, True))]


def verdicts(client: Any, policy: Policy) -> dict[tuple[str, str, str], Verdict]:
    """What the view says, by account, number and our number."""
    rows = client.raw_query(
        f"SELECT * FROM contact_verdicts(scope = '{policy.scope}', yes = {policy.yes_opts_in:d})",
        fmt="JSONEachRow",
        settings={"date_time_output_format": "iso"},
    )
    found = [json.decode(row) for row in rows.splitlines()]
    by_key = {
        (row["account"], row["number"], row["own_number"]): Verdict(
            row["verdict"], row["since"], row["words"], row["deciding_number"]
        )
        for row in found
    }
    assert len(by_key) == len(found)
    return by_key


def expected(contacts: list[Contact], policy: Policy) -> dict[tuple[str, str, str], Verdict]:
    return {
        (contact.account, contact.number, own_number): verdict(contact, own_number, policy)
        for contact in contacts
        for own_number in _own_numbers(contact)
    }


async def look_up(database: str, numbers: Sequence[str]) -> list[list[DatedSignal]]:
    """What the gateway finds of each number."""
    lookups = LookupClient(SecretStr(database), timeout=30, max_concurrent=4, settings=SETTINGS)
    try:
        return await asyncio.gather(*(find_signals(lookups, "acme", number) for number in numbers))
    finally:
        await lookups.close()


def _own_numbers(contact: Contact) -> set[str]:
    """Those that it has events of, and empty for any of them."""
    return {
        "",
        *(fact.own_number for fact in contact.facts),
        *(mark.own_number for mark in marks_of(contact)),
    }


def contact(events: list[ContactEvent]) -> Contact:
    state = reduce(merge_contact, events, None)
    assert state is not None
    return state


@settings(max_examples=20)
@given(st.lists(st.lists(contact_events(), min_size=1, max_size=10), min_size=1, max_size=12))
def test_verdicts_are_those_of_python(
    client: Any, prepared_database: str, stories: list[list[ContactEvent]]
) -> None:
    client.command("TRUNCATE TABLE contact_states")
    contacts = [contact(events) for events in stories]
    for number, state in enumerate(contacts):
        state.number = f"7575550{number:03}"
    insert_values(client, CONTACTS, map(encode_contact, contacts))
    for policy in POLICIES:
        assert verdicts(client, policy) == expected(contacts, policy)
    found = asyncio.run(look_up(prepared_database, [state.number for state in contacts]))
    for policy, own_number in product(POLICIES, (*OWN_NUMBERS, "4045550199")):
        for state, signals in zip(contacts, found, strict=True):
            assert judge(signals, own_number, policy) == verdict(state, own_number, policy)


async def test_lookup_joins_all_states_of_a_number(client: Any, prepared_database: str) -> None:
    """Parts that the engine has not merged: workers with other words, and other times of one event."""
    stories = [
        [contact_event("e1", 5, "suspected", occurred_at=None), contact_event("e3", 7, "opted_in")],
        [contact_event("e1", 3, "opted_out", occurred_at=None, words="stop", own_number="")],
        [contact_event("e2", 2, "yes"), contact_event("e3", 7, "opted_out")],
    ]
    for events in stories:
        insert_values(client, CONTACTS, [encode_contact(contact(events))])
    signals, *unknown = await look_up(prepared_database, ["7575550100", "7575550101", "", "'"])
    assert unknown == [[], [], []]
    whole = contact([event for events in stories for event in events])
    for policy, own_number in product(POLICIES, (*OWN_NUMBERS, "4045550199")):
        assert judge(signals, own_number, policy) == verdict(whole, own_number, policy)


def test_each_combination_of_two_marks_is_judged_alike(client: Any) -> None:
    """All signals, orders, ties and own numbers, with and without a time of the provider."""
    told = [
        (signal, second, own_number, timed)
        for signal in SIGNALS
        for second in (1, 2)
        for own_number in OWN_NUMBERS
        for timed in (True, False)
    ]
    contacts = [
        contact(
            [
                contact_event(
                    f"e{n}",
                    second,
                    signal,
                    own_number=own_number,
                    words=f"{signal} {n}",
                    number=f"7575{number:06}",
                    **({} if timed else {"occurred_at": None}),
                )
                for n, (signal, second, own_number, timed) in enumerate(pair)
            ]
        )
        for number, pair in enumerate(product(told, told))
    ]
    insert_values(client, CONTACTS, map(encode_contact, contacts))
    for policy in POLICIES:
        assert verdicts(client, policy) == expected(contacts, policy)


def test_untimed_opt_outs_beyond_the_cap_are_judged_alike(client: Any, prepared_database: str) -> None:
    """In partial states of more opt-outs than a state has, and of as many."""
    stops = [contact_event(f"e{n:03}", n, occurred_at=None) for n in range(MAX_UNTIMED + 1)]
    again = contact_event("e000", 200, occurred_at=None)
    judged = []
    for number, told in enumerate(([*stops, again], stops, [*stops[:-2], again])):
        start = contact_event("s", 100.5, "opted_in", words="START")
        events = [replace(event, number=f"7575550{number:03}") for event in (*told, start)]
        insert_values(
            client, CONTACTS, [encode_contact(contact(part)) for part in (events[60:], events[:60])]
        )
        judged.append(contact(events))
    for policy in POLICIES:
        assert verdicts(client, policy) == expected(judged, policy)
    found = asyncio.run(look_up(prepared_database, [state.number for state in judged]))
    for states in (
        [verdict(state, "", Policy()) for state in judged],
        [judge(signals, "", Policy()) for signals in found],
    ):
        assert [state.verdict for state in states] == ["opted_out", "ok", "ok"]


@pytest.mark.parametrize("occurred_at", [at(900), None])
def test_verdict_does_not_depend_on_cap_of_facts(client: Any, occurred_at: str | None) -> None:
    events = [contact_event(f"e{n:03}", n, "opted_in", own_number="74121") for n in range(150)]
    last = contact_event("last", 900, own_number="88588", occurred_at=occurred_at)
    insert_values(client, CONTACTS, [encode_contact(contact([*events, last]))])
    judged = {
        own_number: found.verdict for (_, _, own_number), found in verdicts(client, Policy("number")).items()
    }
    assert judged == {"": "opted_out", "74121": "ok", "88588": "opted_out"}


def test_unknown_scope_is_refused(client: Any) -> None:
    with pytest.raises(DatabaseError, match="Unknown element 'acount' for enum"):
        client.command("SELECT * FROM contact_verdicts(scope = 'acount', yes = 0)")


def test_verdict_of_one_number_reads_one_granule(client: Any) -> None:
    contacts = (merge_contact(None, contact_event(number=f"757{n:07}")) for n in range(40_000))
    insert_values(client, CONTACTS, map(encode_contact, contacts))
    plan = client.command(
        "EXPLAIN indexes = 1 SELECT verdict FROM contact_verdicts(scope = 'account', yes = 0) "
        "WHERE account = 'acme' AND number = '7570000007' AND own_number IN ('', '74121')"
    )
    granules = [line.split()[-1] for line in plan.splitlines() if "Granules:" in line]
    assert granules[-1].partition("/")[0] == "1", plan
    assert granules[-1].partition("/")[2] != "1", plan
