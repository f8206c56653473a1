"""A workload in which numbers opt out and in again, and the contacts that follow from it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from gateway.postback import AnyPostback, Response
from streams.contact import Contact, merge_contact
from streams.contact_event import Signal, contact_event_of_response, contact_key
from streams.merge import Event

SIGNAL_OF: dict[str, Signal] = {"STOP": "opted_out", "START": "opted_in"}


def with_opt_outs(given: Iterable[AnyPostback]) -> list[AnyPostback]:
    """The postbacks, with STOP or START in half of the replies, of which some tell when they were sent."""
    return [_as_opt_out(each) if isinstance(each, Response) else each for each in given]


def _as_opt_out(response: Response) -> Response:
    number = int(response.event_id, 16)
    if number % 2:
        return response
    text = "START" if number % 8 == 2 else "STOP"
    return replace(response, text=text, occurred_at=None if number % 3 == 0 else response.received_at)


def fold_contacts(given: Iterable[Event]) -> dict[bytes, Contact]:
    """The contacts that follow from responses with exactly STOP or START, by key."""
    contacts: dict[bytes, Contact] = {}
    for each in given:
        if isinstance(each, Response) and each.text in SIGNAL_OF:
            event = contact_event_of_response(each, SIGNAL_OF[each.text], each.text)
            assert event
            key = contact_key(event.account, event.number)
            contacts[key] = merge_contact(contacts.get(key), event)
    return contacts
