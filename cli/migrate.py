"""`postbacks migrate`: migrates ClickHouse's schema to this version."""

from __future__ import annotations

import click

from cli.options import SettingsLoader
from runtime.clickhouse.errors import ClickHouseUnavailable
from runtime.logging import configure_logs
from sinks.migrate import migrate as run_migrations


@click.command()
@click.pass_obj
def migrate(load: SettingsLoader) -> None:
    """Migrate ClickHouse's schema to this version.

    Every sink does this when it starts; run it beforehand if the sinks' user may not change the schema.
    Creates the database if it does not exist. Running it again changes nothing.

    \b
    Example:
      postbacks migrate
      POSTBACKS_CLICKHOUSE=https://admin:secret@clickhouse:8443/postbacks \\
        postbacks migrate

    \b
    Settings:
      POSTBACKS_CLICKHOUSE  URL of ClickHouse, with user, password, database

    \b
    Exit status:
      0  the schema is that of this version
      1  ClickHouse does not answer, or cannot do it now
      2  the schema is newer than this version, the user may not change it, or
         a setting is wrong
    """
    settings = load()
    configure_logs(settings.log_level, settings.log_format)
    try:
        applied = run_migrations(settings.clickhouse)
    except ClickHouseUnavailable as error:
        raise click.ClickException(f"ClickHouse does not answer, or cannot do it now: {error}") from None
    click.echo("\n".join(applied) or "Nothing to apply")
