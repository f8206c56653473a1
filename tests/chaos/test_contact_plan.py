"""The responses of a chaos run that opt out and in, and the fold of contacts; without engines."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

import pytest
from msgspec.structs import replace

from gateway.parsing.postback import parse
from gateway.parsing.submission import parse_answers
from simulator.customer import REPLIES
from simulator.postback import SimulatedPostback
from simulator.traffic import traffic
from streams.contact import Contact, encode_contact, merge_contact
from streams.contact_event import contact_event_key
from streams.merge import Event
from streams.opt_out import recognise
from tests.chaos.contact_check import ContactCheck
from tests.chaos.contact_plan import BUSY_RESPONSES, plan_responses
from tests.chaos.contact_texts import OPTED_IN, OPTED_OUT, SUSPECTED, TEXTS, YES, signal_of
from tests.chaos.expected import Blocked, SubmittedAnswer
from tests.chaos.expected_contacts import Dated, ExpectedContact, ExpectedContacts, Judged
from tests.chaos.fold import contact_event_of
from tests.chaos.planned_posts import PlannedPost
from tests.chaos.posted import Posted
from tests.chaos.readback import digest_of
from tests.support.answers import ZERO_ID, as_json, refusal
from tests.support.postbacks import at
from tests.support.samples import raw_request

COUNT, RATE, SEED, STARTED = 1_400, 400.0, 7, datetime(2026, 11, 28, tzinfo=UTC)


def generate() -> list[PlannedPost[SimulatedPostback]]:
    return list(plan_responses(COUNT, RATE, SEED, STARTED))


def parse_all(plan: Iterable[PlannedPost[SimulatedPostback]]) -> list[Event]:
    return [parse(raw_request(post.body, received_at=at(n / 100))) for n, post in enumerate(plan)]


def planned() -> tuple[list[Event], ExpectedContacts]:
    """The events of a plan as the gateway parses them, and what must result from them."""
    plan, posted = generate(), Posted()
    for post in plan:
        posted.add_postback(post.content, 200)
    return parse_all(plan), posted.contacts


def check(events: Iterable[Event], expected: ExpectedContacts) -> ContactCheck:
    """Merge the events as streams does, and compare the contacts with what is expected."""
    contacts, received_at = dict[bytes, Contact](), defaultdict[bytes, set[str]](set)
    for event in events:
        received_at[digest_of(event.body.encode())].add(event.received_at)
        if about_contact := contact_event_of(event):
            key = contact_event_key(about_contact)
            contacts[key] = merge_contact(contacts.get(key), about_contact)
    states = {key: encode_contact(contact) for key, contact in contacts.items()}
    result = ContactCheck(states, expected.contacts(received_at))
    result.compare_states("streams", states)
    return result


def test_listed_texts_are_recognised() -> None:
    texts = [text for listed in TEXTS.values() for text in listed]
    texts += [f"{begin}{reply}" for begin in ("", "… and this did not fit: ") for reply in REPLIES]
    for text in texts:
        found = recognise(text)
        assert signal_of(text) == (found.signal if found else ""), text


def test_handsets_write_in_another_order_than_posted() -> None:
    plan = generate()
    assert plan == generate()
    assert [post.number for post in plan] == sorted(post.number for post in plan)
    written = defaultdict[str, list[str]](list)
    for event in parse_all(plan):
        assert event.event_id
        written[event.from_number].append(event.occurred_at or "")
    busiest = max(map(len, written.values()))
    assert busiest == BUSY_RESPONSES
    others = [times for times in written.values() if len(times) < busiest]
    assert sum(times != sorted(times) for times in others) > len(others) / 2
    assert sum(len(set(times)) < len(times) for times in others) > len(others) / 3, "some are at a tie"
    assert any("" in times for times in others)
    repeated = Counter(post.body for post in plan)
    assert max(repeated.values()) == 2


def test_fold_of_responses_agrees_with_contacts() -> None:
    events, expected = planned()
    assert not check(events, expected).findings


def test_fold_of_refused_sends_agrees_with_contacts() -> None:
    """With a MessageID it is one event, else one for each record."""
    expected, events = ExpectedContacts(), list[Event]()
    for number, message_id in enumerate(("1627aea5-8e0a-4371-9022-9b504344e724", None)):
        value = refusal(ReferenceID=f"r{number}", MessageID=message_id or ZERO_ID)
        sent = {"AssignedDID": "74121", "Message": "m", "PhoneNumbers": [f"1757555010{number}"]}
        answer = SubmittedAnswer(
            as_json(value), message_id, "STOPfromPhoneNumber", blocked=Blocked(f"1757555010{number}", "74121")
        )
        expected.add_answer(answer)
        body = as_json({"request": {"SMSRequests": [sent]}, "response": value})
        for second in (2, 1, 3):
            events += parse_answers(raw_request(body, received_at=at(second))).submissions
    assert not check(events, expected).findings


@pytest.mark.parametrize("text", ["STOP", "stpo", "START", "Yes!"])
def test_check_finds_what_is_missing(text: str) -> None:
    events, expected = planned()
    found = check((event for event in events if getattr(event, "text", "") != text), expected).findings
    assert found.lost or found.wrong


def test_check_finds_times_that_were_not_read() -> None:
    events, expected = planned()
    found = check((replace(event, occurred_at=None) for event in events), expected).findings
    assert found.wrong
    assert not found.lost


def test_check_finds_superfluous_contacts() -> None:
    events, _ = planned()
    assert check(events, ExpectedContacts()).findings.superfluous


def dated(*story: tuple[int, str, str]) -> ExpectedContact:
    timed = [Dated(at(second), signal, own_number) for second, signal, own_number in story]
    return ExpectedContact(timed, [], frozenset())


@pytest.mark.parametrize(
    ("story", "judged"),
    [
        ((), Judged("ok", None)),
        (((1, YES, ""),), Judged("ok", None)),
        (((2, OPTED_IN, "74121"), (1, OPTED_OUT, "74121")), Judged("ok", at(2))),
        (((2, OPTED_IN, ""), (2, SUSPECTED, "")), Judged("suspected", at(2))),
        (((1, OPTED_OUT, ""), (2, SUSPECTED, "")), Judged("opted_out", at(1))),
        (((1, OPTED_OUT, "74121"), (2, OPTED_IN, "88588")), Judged("opted_out", at(1))),
        (((1, OPTED_OUT, "88588"),), Judged("ok", None)),
    ],
)
def test_last_statement_in_scope_decides(story: tuple[tuple[int, str, str], ...], judged: Judged) -> None:
    assert dated(*story).judge("74121", "number", yes=False) == judged


def test_planned_messages_are_not_those_of_the_traffic() -> None:
    """One seed for both: equal generators would yield equal ids."""
    seed = 739_948
    postbacks = list(islice(traffic(seed, 400, lambda _: STARTED), 2_000))
    planned_ids = {post.content.message_id for post in plan_responses(2_000, RATE, seed, STARTED)}
    assert planned_ids.isdisjoint(postback.message_id for postback in postbacks)
