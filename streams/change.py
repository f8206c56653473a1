"""A change of one message: what is written to `messages` about it."""

from __future__ import annotations

from functools import cache

from msgspec import Struct

from streams.message import Message, encode_message

Headers = list[tuple[str, bytes]]


class Change(Struct, frozen=True, gc=False):
    """The new state, encoded (None: let go of), and the status now and before; empty where there is none."""

    value: bytes | None
    status: str
    previous: str


def changed(before: Message | None, after: Message) -> Change:
    """The change from one state (None: nothing was known) to another."""
    return Change(encode_message(after), after.status, before.status if before else "")


def let_go_of(message: Message) -> Change:
    """The change that makes streams forget it."""
    return Change(None, "", message.status)


@cache
def headers(status: str, previous: str) -> Headers:
    """The record's headers, by which a consumer picks transitions without reading the value."""
    return [("status", status.encode()), ("previous", previous.encode())]
