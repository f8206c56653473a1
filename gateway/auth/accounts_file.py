"""Loads the accounts from POSTBACKS_TOKENS itself, or from the TOML file that it names.

POSTBACKS_READ_TOKENS has the same form: its tokens read, and those of POSTBACKS_TOKENS post.

[acme]
tokens = ["…", {token = "…", expires = 2027-01-01T00:00:00Z}]
networks = ["203.0.113.0/24"]   # allowed client networks; default: all
rate = 100                      # postbacks per second; default: unlimited
burst = 500                     # postbacks at once; default: those of one second
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from math import ceil, inf
from pathlib import Path
from typing import Annotated, Any

import structlog
from msgspec import Meta, Struct, ValidationError, convert

from gateway.auth.accounts import (
    LOOPBACK,
    OPEN_TO_LOOPBACK,
    Account,
    AccountConfig,
    Accounts,
    Token,
)
from gateway.auth.networks import read_address, read_network, within
from gateway.postback import ACCOUNT_NAME
from runtime.errors import InvalidSetting

#: Characters that a URL needs not escape, and enough of them that guessing over the network is hopeless.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,128}")
TOKENS, READ_TOKENS = "POSTBACKS_TOKENS", "POSTBACKS_READ_TOKENS"
_ALLOWED = (
    'tokens = ["…", {token = "…", expires = 2027-01-01T00:00:00Z}], networks = ["203.0.113.0/24"], '
    "rate = 100, burst = 500; only tokens is required"
)

log = structlog.get_logger(__name__)


class _TokenTable(Struct, forbid_unknown_fields=True):
    token: str
    expires: Annotated[datetime, Meta(tz=True)] | None = None


class _AccountTable(Struct, forbid_unknown_fields=True):
    tokens: Annotated[list[str | _TokenTable], Meta(min_length=1)]
    networks: Annotated[list[str], Meta(min_length=1)] | None = None
    rate: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    burst: Annotated[int, Meta(ge=1, le=10**9)] | None = None


class AccountStore:
    """The accounts in force, which each `load` replaces as a whole. Unset before the first."""

    #: By the tokens that post, and by those that read.
    current: Accounts
    readers: Accounts

    def __init__(self, setting: str, read_setting: str, listen: str) -> None:
        """
        Args:
            setting: the value of POSTBACKS_TOKENS.
            read_setting: the value of POSTBACKS_READ_TOKENS.
            listen: the gateway's `host:port`, which must be loopback if there are no tokens that post.
        """
        self._setting = setting
        self._read_setting = read_setting
        self._listen = listen

    @property
    def files(self) -> list[Path]:
        return [file for file in map(file_of, (self._setting, self._read_setting)) if file]

    def load(self) -> None:
        """Read the accounts, for requests from now on.

        Raises:
            InvalidSetting: a setting or its file is invalid; nothing is changed.
        """
        configs = _read_named(TOKENS, self._setting, "postbacks token")
        readers = _read_named(READ_TOKENS, self._read_setting, "postbacks token --read")
        if not configs:
            require_loopback(self._listen)
        _require_distinct(configs, readers)
        self.current = Accounts(configs.values() if configs else [OPEN_TO_LOOPBACK])
        self.readers = Accounts(readers.values())
        log.info("Accounts loaded", accounts=self.current.names, readers=self.readers.names)


def file_of(setting: str) -> Path | None:
    """The file that the setting names; None if the setting lists the accounts itself."""
    return Path(setting) if setting and "=" not in setting else None


def read_accounts(setting: str, name: str = TOKENS) -> dict[str, AccountConfig]:
    """The accounts by name, as the setting configures them; none if it is empty.

    A setting with a `=` is `account=token,account=token`, where an account may repeat. Any other is the path
    of the file.

    Args:
        setting: its value.
        name: its name, for errors.

    Raises:
        InvalidSetting: names the account or entry at fault, never a token.
    """
    file = file_of(setting)
    configs = _read_file(file, name) if file else _read_inline(setting, name)
    owners: dict[str, str] = {}
    for account, config in configs.items():
        if not ACCOUNT_NAME.fullmatch(account):
            raise InvalidSetting(
                f"{name}: the account {account!r} must be 1 to 64 of a-z, 0-9, _ and -, "
                "and begin with a letter or digit"
            )
        for token in config.tokens:
            if not _TOKEN.fullmatch(token.text):
                raise InvalidSetting(f"{name}: a token of {account} must be 8 to 128 of A-Z a-z 0-9 . _ ~ -")
            if owners.setdefault(token.text, account) != account:
                raise InvalidSetting(f"{name}: {owners[token.text]} and {account} have the same token")
    return configs


def require_loopback(listen: str) -> None:
    """Check that a gateway without tokens is reachable from this machine only.

    Raises:
        InvalidSetting: `listen` (`host:port`) is not a loopback address.
    """
    host = listen.rpartition(":")[0].strip("[]")
    if host != "localhost" and not within(read_address(host), LOOPBACK):
        raise InvalidSetting(
            f"POSTBACKS_LISTEN={listen}: must be a loopback address, such as 127.0.0.1:8080, "
            f"unless {TOKENS} is set"
        )


def _read_named(name: str, setting: str, command: str) -> dict[str, AccountConfig]:
    """Read the accounts; a file must have some. `command` adds one."""
    configs = read_accounts(setting, name)
    if not configs and file_of(setting):
        raise InvalidSetting(f"{name}={setting}: must name an account; `{command}` adds one")
    return configs


def _require_distinct(configs: Mapping[str, AccountConfig], readers: Mapping[str, AccountConfig]) -> None:
    """Check that no token both posts and reads: the provider knows those that post."""
    posting = {token.text for config in configs.values() for token in config.tokens}
    for account, config in readers.items():
        if any(token.text in posting for token in config.tokens):
            raise InvalidSetting(f"{READ_TOKENS}: {account} has a token that is in {TOKENS}, too")


def _read_inline(setting: str, name: str) -> dict[str, AccountConfig]:
    tokens: dict[str, tuple[Token, ...]] = {}
    for number, entry in enumerate(setting.split(",") if setting else (), 1):
        account, equals, token = entry.strip().partition("=")
        if not equals:
            raise InvalidSetting(f"{name}: entry {number} must be account=token")
        tokens[account] = (*tokens.get(account, ()), Token(token))
    return {account: AccountConfig(Account(account), own) for account, own in tokens.items()}


def _read_file(path: Path, name: str) -> dict[str, AccountConfig]:
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:  # unreadable, not UTF-8, or not TOML
        raise InvalidSetting(
            f"{name}={path}: must be account=token,account=token or a readable TOML file ({error})"
        ) from None
    return {
        account: _convert(f"{name}={path}: [{account}]", account, table) for account, table in tables.items()
    }


def _convert(where: str, name: str, value: object) -> AccountConfig:
    try:
        table = convert(value, _AccountTable)
        networks = tuple(read_network(text) for text in table.networks or ())
    except (ValidationError, ValueError) as error:
        raise InvalidSetting(f"{where}: {error}; allowed are {_ALLOWED}") from None
    if table.burst and not table.rate:
        raise InvalidSetting(f"{where}: burst requires rate")
    tokens = tuple(
        Token(token)
        if isinstance(token, str)
        else Token(token.token, token.expires.timestamp() if token.expires else inf)
        for token in table.tokens
    )
    return AccountConfig(Account(name, networks, table.rate, table.burst or ceil(table.rate or 1)), tokens)
