"""`postbacks token`: an account's PostBackURL, or its read token; creates a token if the account has none.

`gateway/auth/accounts_file.py` decides what a token may look like, and reads the file.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time

import click

from cli.options import SettingsLoader
from cli.up.welcome import local_url
from gateway.app import PATH
from gateway.auth.accounts import DEFAULT_ACCOUNT
from gateway.auth.accounts_file import READ_TOKENS, TOKENS, file_of, read_accounts
from runtime.errors import InvalidSetting

#: 256 bits, which cannot be guessed. The text form needs no escaping in a URL.
TOKEN_BYTES = 32
#: Of a new file: tokens are secret.
FILE_MODE = 0o600


@click.command()
@click.argument("account", default=DEFAULT_ACCOUNT)
@click.option(
    "--url", metavar="URL", help="The gateway's public URL. [default: http:// and POSTBACKS_LISTEN]"
)
@click.option("--read", is_flag=True, help="Print the account's read token instead, which posts nothing.")
@click.pass_obj
def token(load: SettingsLoader, account: str, url: str | None, read: bool) -> None:
    """Print an account's PostBackURL; create a token if it has none.

    Tokens are in the TOML file that POSTBACKS_TOKENS names, in a table for each account. The file is created
    if it does not exist; existing contents are not changed, only added to. The URL contains the token, which
    is secret: it allows posting.

    With --read, print the account's read token, which allows looking up contacts: it is in the file that
    POSTBACKS_READ_TOKENS names.

    \b
    Example:
      postbacks token
      POSTBACKS_TOKENS=/etc/postbacks/accounts.toml \\
        postbacks token acme --url https://sms.example.com
      POSTBACKS_READ_TOKENS=/etc/postbacks/readers.toml \\
        postbacks token acme --read

    \b
    Settings:
      POSTBACKS_TOKENS       the file
      POSTBACKS_READ_TOKENS  the file with --read
      POSTBACKS_LISTEN       where the gateway listens, unless --url is given

    \b
    Exit status:
      0  printed
      2  the setting does not name a file that can be read and written,
         the account's name is not allowed, or all its tokens have expired
    """
    settings = load()
    if read and url:
        raise click.UsageError("--url is for a PostBackURL, and --read prints none: leave out one of the two")
    if read:
        click.echo(token_of(account, settings.read_tokens.get_secret_value(), time.time(), READ_TOKENS))
        return
    text = token_of(account, settings.tokens.get_secret_value(), time.time())
    click.echo(f"{(url or local_url(settings.listen)).rstrip('/')}{PATH}/{text}")


def token_of(account: str, setting: str, now: float, name: str = TOKENS) -> str:
    """The account's first valid token in the file; created if the account is not in it.

    Args:
        setting: its value names the file.
        now: seconds since 1970.
        name: the setting's name.

    Raises:
        InvalidSetting: the setting does not name a file, the file is not valid, the account's name is not
            allowed, or all its tokens have expired.
    """
    if not (path := file_of(setting)):
        raise InvalidSetting(f"{name}: must be the path of a file, such as /etc/postbacks/accounts.toml")
    created = secrets.token_urlsafe(TOKEN_BYTES)
    read_accounts(f"{account}={created}", name)  # raises if the name is not allowed
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, FILE_MODE)
        with os.fdopen(descriptor, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # concurrent calls create one token
            if config := read_accounts(setting, name).get(account):
                valid = [token.text for token in config.tokens if now < token.expires_at]
                if not valid:
                    raise InvalidSetting(f"{name}={path}: all tokens of [{account}] have expired")
                return valid[0]
            file.write(f'\n[{account}]\ntokens = ["{created}"]\n')
            file.flush()
            os.fsync(file.fileno())
            return created
    except OSError as error:
        raise InvalidSetting(f"{name}={path}: must be a file to add to ({error.strerror})") from None
