"""`postbacks token`: the PostBackURL of an account, which is given a token when it has none.

What a token may look like, and how the file is read, is decided in `gateway/auth/accounts_file.py`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time

import click

from cli.command import Load
from cli.up.welcome import LOOPBACK
from gateway.app import PATH
from gateway.auth.accounts import DEFAULT_ACCOUNT
from gateway.auth.accounts_file import file_of, read_accounts
from runtime.errors import InvalidSetting
from runtime.settings import PREFIX, Settings

#: 256 bits: nobody guesses it, and it is in a URL as it is.
TOKEN_BYTES = 32
#: Who makes the file is the only one who may read it.
MODE = 0o600


@click.command()
@click.argument("account", default=DEFAULT_ACCOUNT)
@click.option(
    "--url", metavar="URL", help="How the gateway is reached. [default: http:// and POSTBACKS_LISTEN]"
)
@click.pass_obj
def token(load: Load, account: str, url: str | None) -> None:
    """Print the PostBackURL of an account, and give it a token first if it has none.

    The tokens are in the file that POSTBACKS_TOKENS names, a table for each account; the file is made if it
    is missing, and otherwise only added to. The URL holds the token: who knows it may post.

    \b
    Example:
      postbacks token
      POSTBACKS_TOKENS=/etc/postbacks/accounts.toml postbacks token acme --url https://sms.example.com

    \b
    Settings:
      POSTBACKS_TOKENS  the file
      POSTBACKS_LISTEN  where the gateway is, when --url does not say it

    \b
    Exit status:
      0  printed
      2  POSTBACKS_TOKENS names no file that can be read and written, the account's name is none, or all its
         tokens have expired
    """
    settings = load()
    own = token_of(account, settings.tokens.get_secret_value(), time.time())
    click.echo(f"{(url or _here(settings)).rstrip('/')}{PATH}/{own}")


def token_of(account: str, setting: str, now: float) -> str:
    """The first valid token of the account in the file that the setting names, made when there is none.

    Args:
        now: seconds since 1970.

    Raises:
        BadSetting: the setting names no file, it holds something else, the account's name is not allowed, or
            all its tokens have expired.
    """
    if not (path := file_of(setting)):
        raise InvalidSetting(
            f"{PREFIX}TOKENS: must be the path of a file, such as /etc/postbacks/accounts.toml"
        )
    made = secrets.token_urlsafe(TOKEN_BYTES)
    read_accounts(f"{account}={made}")  # refuses a name that is none
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, MODE)
        with os.fdopen(descriptor, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two that begin at once make one token
            if own := read_accounts(setting).get(account):
                valid = [token.text for token in own.tokens if token.valid(now)]
                if not valid:
                    raise InvalidSetting(f"{PREFIX}TOKENS={path}: all tokens of [{account}] have expired")
                return valid[0]
            file.write(f'\n[{account}]\ntokens = ["{made}"]\n')
            file.flush()
            os.fsync(file.fileno())
            return made
    except OSError as error:
        raise InvalidSetting(f"{PREFIX}TOKENS={path}: must be a file to add to ({error.strerror})") from None


def _here(settings: Settings) -> str:
    host, _, port = settings.listen.rpartition(":")
    return f"http://{LOOPBACK.get(host, host)}:{port}"
