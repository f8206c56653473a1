"""The read tokens of the stack, so that commands in another terminal can look up contacts."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from cli.token import token_of
from cli.up.welcome import local_url
from gateway.auth.accounts import DEFAULT_ACCOUNT
from gateway.auth.accounts_file import READ_TOKENS, TOKENS, read_accounts
from runtime.settings import Settings

#: In the folder of all data; readable by its owner only.
FILE = "read_tokens.toml"


def with_read_tokens(settings: Settings, listen: str, data: Path, now: float) -> Settings:
    """The settings with read tokens for the gateway, and with what a client of this stack needs.

    Creates a token for each account that posts, unless POSTBACKS_READ_TOKENS is set. A client's is that of
    the only account; with several, there is none.

    Args:
        listen: the gateway's `host:port`.
        data: the folder of all data.
        now: seconds since 1970.

    Raises:
        InvalidSetting: tokens are not valid, or the file cannot be written.
    """
    posting = list(read_accounts(settings.tokens.get_secret_value(), TOKENS)) or [DEFAULT_ACCOUNT]
    setting = settings.read_tokens.get_secret_value()
    if not setting:
        setting = str(data / FILE)
        for account in posting:
            token_of(account, setting, now, READ_TOKENS)
    readers = read_accounts(setting, READ_TOKENS)
    candidates = [account for account in posting if account in readers] or list(readers)
    tokens = [token.text for token in readers[candidates[0]].tokens if now < token.expires_at]
    return settings.model_copy(
        update={
            "read_tokens": SecretStr(setting),
            "read_token": SecretStr(tokens[0] if len(candidates) == 1 and tokens else ""),
            "contact_url": f"{local_url(listen)}/contact",
        }
    )
