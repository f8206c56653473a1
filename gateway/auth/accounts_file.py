"""How accounts are set: POSTBACKS_TOKENS itself, or the TOML file that it names.

[acme]
tokens = ["…", {token = "…", expires = 2027-01-01T00:00:00Z}]
networks = ["203.0.113.0/24"]   # those that may post; without it all
rate = 100                      # postbacks a second; without it as many as come
burst = 500                     # of them at once; without it those of one second
"""

from __future__ import annotations

import re
import tomllib
from datetime import datetime
from ipaddress import ip_address
from math import ceil
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

from gateway.auth.accounts import Account, AccountConfig, Token
from gateway.auth.networks import read_network
from runtime.errors import InvalidSetting

#: In a URL as they are; long enough not to be guessed by somebody who must ask over the network.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,128}")
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SETTING = "POSTBACKS_TOKENS"
_ALLOWED = (
    'tokens = ["…", {token = "…", expires = 2027-01-01T00:00:00Z}], networks = ["203.0.113.0/24"], '
    "rate = 100, burst = 500; all but tokens may be left out"
)


class _Token(Struct, forbid_unknown_fields=True):
    token: str
    expires: Annotated[datetime, Meta(tz=True)] | None = None


class _Table(Struct, forbid_unknown_fields=True):
    tokens: Annotated[list[str | _Token], Meta(min_length=1)]
    networks: Annotated[list[str], Meta(min_length=1)] | None = None
    rate: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    burst: Annotated[int, Meta(ge=1, le=10**9)] | None = None


def file_of(setting: str) -> Path | None:
    """The file that the setting names; null when the setting says all itself."""
    return Path(setting) if setting and "=" not in setting else None


def read_accounts(setting: str) -> dict[str, AccountConfig]:
    """The accounts by their names, as POSTBACKS_TOKENS sets them; none when it is empty.

    With a `=` in it the setting is `account=token,account=token` itself, where an account may come again;
    else it is the path of the file.

    Raises:
        BadSetting: naming the account or entry at fault, never a token.
    """
    file = file_of(setting)
    listed = _from_file(file) if file else _inline(setting)
    owners: dict[str, str] = {}
    for name, one in listed.items():
        if not _ACCOUNT.fullmatch(name):
            raise InvalidSetting(
                f"{_SETTING}: the account {name!r} must be 1 to 64 of a-z, 0-9, _ and -, "
                "and begin with a letter or digit"
            )
        for token in one.tokens:
            if not _TOKEN.fullmatch(token.text):
                raise InvalidSetting(f"{_SETTING}: a token of {name} must be 8 to 128 of A-Z a-z 0-9 . _ ~ -")
            if owners.setdefault(token.text, name) != name:
                raise InvalidSetting(f"{_SETTING}: {owners[token.text]} and {name} have the same token")
    return listed


def require_loopback(listen: str) -> None:
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
        raise InvalidSetting(
            f"POSTBACKS_LISTEN={listen}: must be a loopback address, such as 127.0.0.1:8080, "
            f"as long as there is no {_SETTING}"
        )


def _inline(setting: str) -> dict[str, AccountConfig]:
    tokens: dict[str, tuple[Token, ...]] = {}
    for number, entry in enumerate(setting.split(",") if setting else (), 1):
        account, equals, token = entry.strip().partition("=")
        if not equals:
            raise InvalidSetting(f"{_SETTING}: entry {number} must be account=token")
        tokens[account] = (*tokens.get(account, ()), Token(token))
    return {name: AccountConfig(Account(name), own) for name, own in tokens.items()}


def _from_file(path: Path) -> dict[str, AccountConfig]:
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f"{_SETTING}={path}: must be account=token,account=token or a readable TOML file ({error})"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidSetting(f"{_SETTING}={path}: is no TOML: {error}") from None
    return {name: _listed(f"{_SETTING}={path}: [{name}]", name, table) for name, table in tables.items()}


def _listed(place: str, name: str, table: object) -> AccountConfig:
    try:
        read = convert(table, _Table)
        networks = tuple(read_network(text) for text in read.networks or ())
    except ValidationError as error:
        raise InvalidSetting(f"{place}: {error}; allowed are {_ALLOWED}") from None
    except ValueError as error:
        raise InvalidSetting(f"{place}: in networks, {error}; allowed are {_ALLOWED}") from None
    if read.burst and not read.rate:
        raise InvalidSetting(f"{place}: has a burst, and so needs a rate")
    tokens = tuple(
        Token(one)
        if isinstance(one, str)
        else Token(one.token, one.expires.timestamp() if one.expires else None)
        for one in read.tokens
    )
    return AccountConfig(Account(name, networks, read.rate, read.burst or ceil(read.rate or 1)), tokens)
