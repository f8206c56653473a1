"""What a number said about being written to, as text of at most 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.postback import Time
from operations.timeline import printable, readable_time
from runtime.verdict import Judgement, Policy, Scope, Verdict
from streams.contact import Contact, ContactFact, marks_of
from streams.contact_event import Signal
from streams.verdict import verdict

MEANINGS: dict[Judgement, str] = {
    "ok": "may be written to",
    "suspected": "may have opted out; the words are not certain",
    "opted_out": "must not be written to",
}
COLOURS: dict[Judgement | Signal, str] = {
    "ok": "green",
    "opted_in": "green",
    "yes": "green",
    "suspected": "yellow",
    "opted_out": "red",
}
SCOPES: dict[Scope, str] = {
    "number": "an opt-out is about the number of ours that it was sent to",
    "account": "an opt-out is about all of our numbers",
}


class OwnVerdict(NamedTuple):
    """The verdict for one of our numbers; empty: for any of them."""

    sender: str
    verdict: Verdict


class SignalEntry(NamedTuple):
    """One thing that a number said; `at` is when we received it, or else by the provider's clock."""

    at: Time
    signal: Signal
    details: list[str]


def verdicts_of(contact: Contact, policy: Policy, sender: str = "") -> list[OwnVerdict]:
    """The verdicts for each of our numbers that the contact has events of, and for any.

    Args:
        sender: only for this number of ours; canonical.
    """
    known = {fact.own_number for fact in contact.facts}
    known |= {mark.own_number for mark in marks_of(contact)}
    senders = [sender] if sender else ["", *sorted(known - {""})]
    return [OwnVerdict(each, verdict(contact, each, policy)) for each in senders]


def entries_of(contact: Contact) -> list[SignalEntry]:
    """Everything that the contact said, in the order in which we received it."""
    found = [SignalEntry(fact.received_at, fact.signal, list(_details(fact))) for fact in contact.facts]
    listed = {fact.event_id for fact in contact.facts}
    beyond = "of more than 100 events only the latest are known"
    for mark in marks_of(contact):
        if mark.event_id not in listed:
            listed.add(mark.event_id)
            found.append(SignalEntry(mark.at, mark.signal, [*_said(mark.words, mark.own_number), beyond]))
    return sorted(found, key=lambda entry: entry.at)


def render_contact(contact: Contact, policy: Policy, sender: str = "") -> Group:
    """The contact, its verdicts and its events; times are UTC."""
    verdicts = verdicts_of(contact, policy, sender)
    judgement = verdicts[0].verdict.verdict
    head = Text.assemble(
        "Contact ", (contact.number, "bold"), "  ", (judgement, f"bold {COLOURS[judgement]}")
    )
    fields = {
        "account": contact.account,
        "meaning": MEANINGS[judgement],
        "scope": SCOPES[policy.scope],
        "first seen": readable_time(contact.first_seen_at),
        "last seen": readable_time(contact.last_seen_at),
    }
    parts: list[RenderableType] = [head]
    parts += [Text(f"  {name:<11} {value}") for name, value in fields.items()]
    return Group(*parts, Text(), _verdict_table(verdicts), Text(), _entry_table(contact))


def _verdict_table(verdicts: list[OwnVerdict]) -> Table:
    table = _grid()
    for sender, found in verdicts:
        since = f"since {readable_time(found.since)}" if found.since else "no event decides"
        said = "\n".join([since, *(_said(found.words, found.own_number) if found.since else ())])
        judged = Text(found.verdict, f"bold {COLOURS[found.verdict]}")
        table.add_row(f"from {sender or 'any of our numbers'}", judged, Text(said))
    return table


def _entry_table(contact: Contact) -> Table:
    table = _grid()
    for entry in entries_of(contact):
        signal = Text(entry.signal, f"bold {COLOURS[entry.signal]}")
        table.add_row(Text(readable_time(entry.at), "dim"), signal, Text("\n".join(entry.details)))
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _details(fact: ContactFact) -> Iterator[str]:
    yield from _said(fact.words, fact.own_number)
    yield from _source(fact)
    if fact.occurred_at and fact.occurred_at != fact.received_at:
        clock = "at" if fact.source == "import" else "provider's clock"
        yield f"{clock} {readable_time(fact.occurred_at)}"


def _source(fact: ContactFact) -> Iterator[str]:
    match fact.source:
        case "response":
            yield f"reply {fact.message_id or ''}".rstrip()
        case "submission":
            yield "the provider refused to send"
            yield from [fact.message_id] if fact.message_id else ()
        case "import":
            yield f"import {printable(fact.source_name)}"


def _said(words: str, own_number: str) -> list[str]:
    to = f" to {own_number}" if own_number else ""
    return [f"“{printable(words)}”{to}" if words else f"no words{to}"]
