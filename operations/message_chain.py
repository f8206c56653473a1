"""Chains of messages linked by BackupMessageID: one text, and its retries from other numbers. Pure.

The view `message_chains` derives the same (`sinks/schema`), and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import Struct

from gateway.postback import Guid, Time
from streams.message import Status

#: Retries of a text one after the other. More than one is not to be expected, but receipts may name anything.
MAX_RETRIES = 10


class LinkedMessage(Struct, kw_only=True, frozen=True):
    """What a chain needs of a message; fields as in `Message`."""

    account: str
    message_id: Guid
    status: Status
    reference_id: str = ""
    to_number: str = ""
    first_seen_at: Time
    last_seen_at: Time
    sent_at: Time | None = None
    delivered_at: Time | None = None
    backup_message_ids: list[Guid] = []


class MessageChain(Struct, kw_only=True, frozen=True):
    """A row of the view."""

    account: str
    first_message_id: Guid
    last_message_id: Guid
    length: int
    #: The end result: delivered if any message is, else that of the last one.
    status: Status
    #: From the first one on; of several retries of one message the first seen first, those not stored last.
    message_ids: list[Guid]
    #: Of each message; unknown if it is not stored.
    statuses: list[Status]
    #: Of the first message.
    reference_id: str = ""
    to_number: str = ""
    #: Of all messages.
    first_seen_at: Time
    last_seen_at: Time
    sent_at: Time | None = None
    delivered_at: Time | None = None


@dataclass(frozen=True)
class ChainPosition:
    """Where a message is in its chain."""

    chain: MessageChain
    #: From 1.
    number: int
    #: The message that it retried; that of a loop's first one is in the loop, too.
    retried_message_id: Guid | None


@dataclass(frozen=True)
class Retries:
    """The messages of one account, and which of them each retry retried."""

    messages: dict[Guid, LinkedMessage]
    retried: dict[Guid, Guid]

    def position(self, message_id: Guid) -> tuple[Guid, int] | None:
        """The first message of the chain that a retry is in, and the number of retries up to it.

        None if it is no retry, or beyond MAX_RETRIES. The first message of a loop is the first seen one.
        """
        way_back: list[Guid] = []
        current = message_id
        while current in self.retried and len(way_back) <= MAX_RETRIES:
            current = self.retried[current]
            if current in way_back:
                first = min(way_back[way_back.index(current) :], key=self._seen)
                return first, way_back.index(first) + 1
            way_back.append(current)
        return (current, len(way_back)) if 0 < len(way_back) <= MAX_RETRIES else None

    def _seen(self, message_id: Guid) -> tuple[Time, Guid]:
        return self.messages[message_id].first_seen_at, message_id


def retries_of(messages: Iterable[LinkedMessage]) -> Retries:
    """Which message each retry retried, according to the messages of one account.

    Of several that name the same backup the first seen one counts. A message that names itself is no retry.
    """
    known = {message.message_id: message for message in messages}
    retried: dict[Guid, Guid] = {}
    for message in sorted(known.values(), key=lambda message: (message.first_seen_at, message.message_id)):
        for backup in message.backup_message_ids:
            if backup != message.message_id:
                retried.setdefault(backup, message.message_id)
    return Retries(known, retried)


def chains(messages: Iterable[LinkedMessage]) -> list[MessageChain]:
    """All chains of one account, ordered by their first message."""
    return _chains(retries_of(messages))


def _chains(retries: Retries) -> list[MessageChain]:
    members: dict[Guid, dict[Guid, int]] = {}
    for message_id in retries.retried:
        if position := retries.position(message_id):
            first, depth = position
            members.setdefault(first, {first: 0}).setdefault(message_id, depth)
    return [_chain(first, members[first], retries.messages) for first in sorted(members)]


def chain_position(messages: Iterable[LinkedMessage], message_id: Guid) -> ChainPosition | None:
    """Where the message is in its chain, according to messages of one account; None if it is in none."""
    retries = retries_of(messages)
    for chain in _chains(retries):
        if message_id in chain.message_ids:
            number = chain.message_ids.index(message_id) + 1
            return ChainPosition(chain, number, retries.retried.get(message_id))
    return None


def _chain(first: Guid, depths: dict[Guid, int], messages: dict[Guid, LinkedMessage]) -> MessageChain:
    def order(message_id: Guid) -> tuple[int, bool, Time, Guid]:
        stored = messages.get(message_id)
        return depths[message_id], stored is None, stored.first_seen_at if stored else "", message_id

    ids = sorted(depths, key=order)
    stored = [messages[each] for each in ids if each in messages]
    statuses: list[Status] = [messages[each].status if each in messages else "unknown" for each in ids]
    return MessageChain(
        account=stored[0].account,
        first_message_id=first,
        last_message_id=ids[-1],
        length=len(ids),
        status="delivered" if "delivered" in statuses else statuses[-1],
        message_ids=ids,
        statuses=statuses,
        reference_id=stored[0].reference_id,
        to_number=stored[0].to_number,
        first_seen_at=min(each.first_seen_at for each in stored),
        last_seen_at=max(each.last_seen_at for each in stored),
        sent_at=min((each.sent_at for each in stored if each.sent_at), default=None),
        delivered_at=min((each.delivered_at for each in stored if each.delivered_at), default=None),
    )
