"""Authenticates a request's token and client address. Pure.

Tokens are stored as digests only, keyed with a secret of this process. `gateway.auth.accounts_file` loads the
accounts.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from math import inf

from gateway.auth.networks import Network, read_address, read_network, read_networks, within

#: The account if none are configured. It needs no token, only a loopback client address.
DEFAULT_ACCOUNT = "default"
LOOPBACK = read_networks("127.0.0.0/8, ::1/128")


@dataclass(frozen=True)
class Account:
    """An owner of postbacks. `networks` are those it may post from; any, if empty."""

    name: str
    networks: tuple[Network, ...] = ()
    #: Postbacks per second and at once; unlimited if `rate` is None.
    rate: float | None = None
    burst: int = 1


@dataclass(frozen=True)
class Token:
    """A secret that identifies an account until `expires_at` (seconds since 1970)."""

    text: str = field(repr=False)
    expires_at: float = inf


@dataclass(frozen=True)
class AccountConfig:
    """An account with its tokens, as configured."""

    account: Account
    tokens: tuple[Token, ...]


#: What is available to loopback clients without a token, if no accounts are configured.
OPEN_TO_LOOPBACK = AccountConfig(Account(DEFAULT_ACCOUNT, LOOPBACK), (Token(""),))
#: Entry for unknown tokens: expired and unreachable, so that a miss takes as long as a hit.
_UNKNOWN = Account("", (read_network("::/128"),)), -inf


class Accounts:
    """Accounts by keyed digest of their tokens, so that timing reveals nothing about a token."""

    def __init__(self, configs: Iterable[AccountConfig]) -> None:
        configs = list(configs)
        self.names = sorted(config.account.name for config in configs)
        self._key = secrets.token_bytes(32)
        self._entries: Mapping[bytes, tuple[Account, float]] = {
            self._digest(token.text): (config.account, token.expires_at)
            for config in configs
            for token in config.tokens
        }

    def authenticate(self, token: str, client: str, now: float) -> Account | None:
        """The token's account, if the token is valid and the client's address is allowed.

        Args:
            client: an IP address; anything else is in no network.
            now: seconds since 1970.
        """
        account, expires_at = self._entries.get(self._digest(token), _UNKNOWN)
        allowed = not account.networks or within(read_address(client), account.networks)
        return account if allowed and now < expires_at else None

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode(errors="surrogateescape"), key=self._key).digest()
