"""Whether a number may be written to, derived from its state. Pure, and never stored.

Readers may have different policies: the state has what all of them need.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.verdict import DatedSignal, Policy, Verdict, judge
from streams.contact import Contact, marks_of


def verdict(contact: Contact | None, own_number: str, policy: Policy) -> Verdict:
    """Whether `own_number` (empty: any of ours) may write to a contact; None is one that nothing is known of.

    An event whose own number is unknown counts for all of them.
    """
    return judge(_signals(contact) if contact else (), own_number, policy)


def _signals(contact: Contact) -> Iterator[DatedSignal]:
    for mark in marks_of(contact):
        yield DatedSignal(mark.at, mark.event_id, mark.words, mark.own_number, mark.signal)
