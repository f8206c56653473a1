"""`postbacks settings`: all settings with their values, defaults and meanings."""

from __future__ import annotations

from collections.abc import Iterator

import click
from msgspec import json
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from cli.options import SettingsLoader
from runtime.settings import PREFIX, Settings, load_settings

COLUMNS = ("setting", "here", "default", "meaning")
UNSET = "-"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each setting.")
@click.pass_obj
def settings(load: SettingsLoader, as_json: bool) -> None:
    """List all settings with their values, defaults and meanings.

    All processes read the same settings: environment variables, or lines of NAME=value in the file that
    POSTBACKS_SETTINGS names; the environment takes precedence. Secrets are shown as asterisks.

    \b
    Example:
      postbacks settings
      POSTBACKS_SETTINGS=production.env postbacks settings --json

    \b
    Exit status:
      0  listed
      2  a setting is wrong; the message says which, and what is allowed
    """
    console = Console(highlight=False)
    listed = rows(load(), load_settings({}))
    if as_json:
        for row in listed:
            click.echo(json.encode(dict(zip(COLUMNS, row, strict=True))))
    elif console.is_terminal:
        table = Table(*COLUMNS, box=None, header_style="bold")
        for row in listed:
            table.add_row(*row)
        console.print(table)
    else:
        for row in listed:
            click.echo("\t".join(row))


def rows(current: Settings, defaults: Settings) -> Iterator[tuple[str, str, str, str]]:
    """Name, current value (empty: the default), default and meaning of each setting."""
    for field, info in Settings.model_fields.items():
        value = _display(getattr(current, field)) if field in current.model_fields_set else ""
        default = getattr(defaults, field)
        if isinstance(default, SecretStr):  # a default is in the source code, so it is not secret
            default = default.get_secret_value()
        yield PREFIX + field.upper(), value, _display(default), info.description or ""


def _display(value: object) -> str:
    return UNSET if value in (None, "") else str(value)
