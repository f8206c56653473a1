"""What a record of `messages` says has changed, and which changes somebody wants to see. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import DecodeError

from streams.message import Message, decode_message


@dataclass(frozen=True)
class Change:
    """A message's state as it is now, and the status it had before (empty: it was not known)."""

    previous: str
    message: Message


def read_change(value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Change | None:
    """The change that a record tells; None when it only says that streams let go of the message, or is none.

    Raises:
        NewerVersion: it was written by newer code.
    """
    if value is None:
        return None
    try:
        message = decode_message(value)
    except DecodeError:
        return None
    return Change((dict(headers).get("previous") or b"").decode(errors="replace"), message)


@dataclass(frozen=True)
class Filter:
    """What to show; empty lets everything through."""

    account: str = ""
    statuses: frozenset[str] = frozenset()
    #: Digits, found wherever they are part of the number that it is from or to.
    number: str = ""

    def lets_through(self, change: Change) -> bool:
        message = change.message
        return (
            (not self.account or message.account == self.account)
            and (not self.statuses or message.status in self.statuses)
            and (self.number in message.from_number or self.number in message.to_number)
        )
