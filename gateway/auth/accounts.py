"""Which account a token names, and from where and how much that account may post. Pure.

Of the tokens only digests are kept, under a key of this process. How accounts are set is decided in
`gateway.auth.accounts_file`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from gateway.auth.networks import Network, read_address, read_network, read_networks, within

#: The account of a gateway without tokens, and those who need none: whom a proxy names is somebody else.
DEFAULT_ACCOUNT = "default"
LOOPBACK = read_networks("127.0.0.0/8, ::1/128")


@dataclass(frozen=True)
class Account:
    """Whose postbacks they are. `networks` are those that it posts from, all when there are none."""

    name: str
    networks: tuple[Network, ...] = ()
    #: Postbacks a second, and how many of them at once; null: as many as come.
    rate: float | None = None
    burst: int = 1


@dataclass(frozen=True)
class Token:
    """A secret that names an account, until `expires_at` (seconds since 1970; never when null)."""

    text: str = field(repr=False)
    expires_at: float | None = None

    def valid(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True)
class AccountConfig:
    """An account with its tokens, as it was set."""

    account: Account
    tokens: tuple[Token, ...]


class _Entry(NamedTuple):
    account: Account
    expires_at: float


#: For whom a token is nobody's: nothing is valid in the past, or from a network in which nobody is.
_NOBODY = _Entry(Account("", (read_network("::/128"),)), float("-inf"))
_NEVER = float("inf")


class Accounts:
    """Accounts by digest. Finding one is the same work whatever the token: nobody can aim a digest."""

    def __init__(self, listed: Iterable[AccountConfig]) -> None:
        """With no account at all, the default one needs no token, but to be on this machine."""
        listed = list(listed) or [AccountConfig(Account(DEFAULT_ACCOUNT, LOOPBACK), (Token(""),))]
        self.names = sorted(one.account.name for one in listed)
        self._key = secrets.token_bytes(32)
        self._entries: Mapping[bytes, _Entry] = {
            self._digest(token.text): _Entry(
                one.account, _NEVER if token.expires_at is None else token.expires_at
            )
            for one in listed
            for token in one.tokens
        }

    def admitted(self, token: str, client: str, now: float) -> Account | None:
        """The account of this token, if it is valid now and may come from the client's address.

        Args:
            now: seconds since 1970.
        """
        account, expires_at = self._entries.get(self._digest(token), _NOBODY)
        allowed = not account.networks or within(read_address(client), account.networks)
        return account if allowed and now < expires_at else None

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode(errors="surrogateescape"), key=self._key).digest()
