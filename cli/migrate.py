"""`postbacks migrate`: ClickHouse's schema, brought to the version of this code."""

from __future__ import annotations

import click

from cli.command import Load
from runtime.clickhouse.client import Unavailable
from runtime.logging import configure_logs
from sinks.migrate import migrate as apply


@click.command()
@click.pass_obj
def migrate(load: Load) -> None:
    """Bring ClickHouse's schema to the version of this code.

    Every sink does the same at its start; this is for doing it beforehand, with other rights than its own.
    The database is created if it is missing. To apply it again changes nothing.

    \b
    Example:
      postbacks migrate
      POSTBACKS_CLICKHOUSE=https://admin:secret@clickhouse:8443/postbacks postbacks migrate

    \b
    Settings:
      POSTBACKS_CLICKHOUSE  where ClickHouse is, which database, and as whom

    \b
    Exit status:
      0  the schema is that of this code
      1  ClickHouse does not answer, or cannot do it now
      2  the schema is newer than this code, the user may not change it, or a setting is wrong
    """
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    try:
        applied = apply(settings.clickhouse)
    except Unavailable as error:
        raise click.ClickException(f"ClickHouse does not answer, or cannot do it now: {error}") from None
    click.echo("\n".join(applied) or "Nothing to apply")
