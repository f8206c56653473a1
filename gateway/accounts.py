"""Which account a token names. Of the tokens only digests are kept, under a key of this process."""

from __future__ import annotations

import re
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from runtime.errors import BadSetting

#: The account of a gateway without tokens.
DEFAULT_ACCOUNT = "default"
#: In a URL as they are; long enough not to be guessed by somebody who must ask over the network.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,128}")
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SETTING = "POSTBACKS_TOKENS"


@dataclass(frozen=True)
class Accounts:
    """Accounts by digest. Finding one takes the same time whatever the token: nobody can aim a digest."""

    _key: bytes
    _names: Mapping[bytes, str]

    @classmethod
    def of(cls, tokens: Mapping[str, Sequence[str]]) -> Accounts:
        """The accounts with their tokens; with none at all, the default one needs no token."""
        key = secrets.token_bytes(32)
        tokens = tokens or {DEFAULT_ACCOUNT: [""]}
        return cls(key, {_digest(key, token): name for name, own in tokens.items() for token in own})

    def named_by(self, token: str) -> str | None:
        """The account that this token is of."""
        return self._names.get(_digest(self._key, token))


def _digest(key: bytes, token: str) -> bytes:
    return blake2b(token.encode(errors="surrogateescape"), key=key).digest()


def read_tokens(setting: str) -> dict[str, list[str]]:
    """The tokens of each account, as POSTBACKS_TOKENS names them; nothing when it is empty.

    With a `=` in it the setting is `account=token,account=token` itself, where an account may come again;
    else it is the path of a TOML file with a table for each account: `[acme]`, `tokens = ["…", "…"]`.

    Raises:
        BadSetting: naming the account or entry at fault, never a token.
    """
    if not setting:
        return {}
    tokens = _inline(setting) if "=" in setting else _from_file(Path(setting))
    owners: dict[str, str] = {}
    for account, own in tokens.items():
        if not _ACCOUNT.fullmatch(account):
            raise BadSetting(
                f"{_SETTING}: the account {account!r} must be 1 to 64 of a-z, 0-9, _ and -, "
                "and begin with a letter or digit"
            )
        for token in own:
            if not _TOKEN.fullmatch(token):
                raise BadSetting(f"{_SETTING}: a token of {account} must be 8 to 128 of A-Z a-z 0-9 . _ ~ -")
            if owners.setdefault(token, account) != account:
                raise BadSetting(f"{_SETTING}: {owners[token]} and {account} have the same token")
    return tokens


def _inline(setting: str) -> dict[str, list[str]]:
    tokens: dict[str, list[str]] = {}
    for number, entry in enumerate(setting.split(","), 1):
        account, equals, token = entry.strip().partition("=")
        if not equals:
            raise BadSetting(f"{_SETTING}: entry {number} must be account=token")
        tokens.setdefault(account, []).append(token)
    return tokens


def _from_file(path: Path) -> dict[str, list[str]]:
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(
            f"{_SETTING}={path}: must be account=token,account=token or a readable TOML file ({error})"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{_SETTING}={path}: is no TOML: {error}") from None
    return {account: _tokens_of(path, account, table) for account, table in tables.items()}


def _tokens_of(path: Path, account: str, table: Any) -> list[str]:
    tokens = table.get("tokens") if isinstance(table, dict) else None
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
        raise BadSetting(f'{_SETTING}={path}: [{account}] needs tokens = ["…"], one or more')
    if unknown := table.keys() - {"tokens"}:
        raise BadSetting(f"{_SETTING}={path}: [{account}] has {', '.join(sorted(unknown))}; known is: tokens")
    return tokens


def demand_loopback(listen: str) -> None:
    """Without tokens anybody who reaches the port is believed, so only this machine may.

    Raises:
        BadSetting: `listen` (`host:port`) is no loopback address.
    """
    host = listen.rpartition(":")[0].strip("[]")
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise BadSetting(
            f"POSTBACKS_LISTEN={listen}: must be a loopback address, such as 127.0.0.1:8080, "
            f"as long as there is no {_SETTING}"
        )
