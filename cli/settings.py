"""`postbacks settings`: every setting, what it means, and what it is here."""

from __future__ import annotations

from collections.abc import Iterator

import click
from msgspec import json
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from cli.command import Load
from runtime.settings import PREFIX, Settings, load_settings

COLUMNS = ("setting", "here", "default", "meaning")
NONE = "-"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each setting.")
@click.pass_obj
def settings(load: Load, as_json: bool) -> None:
    """List every setting: its value here, its default, and what it means.

    All processes read the same names from the environment, and before that from the file (lines of
    NAME=value) that POSTBACKS_SETTINGS names; the environment wins. Secrets are shown as stars.

    \b
    Example:
      postbacks settings
      POSTBACKS_SETTINGS=production.env postbacks settings --json

    \b
    Exit status:
      0  listed
      2  a setting is wrong; it says which one, and what is allowed
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


def rows(here: Settings, defaults: Settings) -> Iterator[tuple[str, str, str, str]]:
    """Name, value here (empty: the default), default, and meaning."""
    for field, about in Settings.model_fields.items():
        value = _shown(getattr(here, field)) if field in here.model_fields_set else ""
        default = getattr(defaults, field)
        if isinstance(default, SecretStr):  # what stands in the source is no secret
            default = default.get_secret_value()
        yield PREFIX + field.upper(), value, _shown(default), about.description or ""


def _shown(value: object) -> str:
    return NONE if value in (None, "") else str(value)
