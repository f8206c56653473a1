"""Messages that receipts link by BackupMessageID, and the chains that Python finds in them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from uuid import UUID

from msgspec import convert

from operations.message_chain import LinkedMessage, MessageChain, chains
from streams.merge import Event, merge
from streams.message import Message
from tests.support.postbacks import receipt, sent


def guid(number: int) -> str:
    """Ids whose order as text differs from ClickHouse's order of UUIDs."""
    return str(UUID(int=((number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC834) % 2**128))


def retried(
    number: int, *backups: int, second: float = 0, code: str = "091", account: str = "acme"
) -> Message:
    """A message first seen at that second, with a receipt for each backup; without one it is sent only.

    A code other than 091 is that of a receipt, also without backups.
    """
    message_id = guid(number)
    events: list[Event] = [
        sent(
            f"s{number}",
            second,
            message_id=message_id,
            account=account,
            reference_id=f"of {number}",
            to_number=f"{number}",
        )
    ]
    named: list[str | None] = [guid(backup) for backup in backups] or ([None] if code != "091" else [])
    events += [
        receipt(
            f"r{number}/{backup}",
            second + 1,
            code,
            message_id=message_id,
            account=account,
            backup_message_id=backup,
        )
        for backup in named
    ]
    state = reduce(merge, events, None)
    assert state is not None
    return state


def line(length: int, account: str = "acme") -> list[Message]:
    """Messages 0, 1, …, each retried in the next one, of which the last is not stored."""
    return [retried(number, number + 1, second=number, account=account) for number in range(length)]


def chains_of(messages: Iterable[Message]) -> list[MessageChain]:
    """The chains of all accounts, ordered by account and first message."""
    by_account: dict[str, list[LinkedMessage]] = {}
    for each in messages:
        by_account.setdefault(each.account, []).append(convert(each, LinkedMessage, from_attributes=True))
    return [chain for account in sorted(by_account) for chain in chains(by_account[account])]
