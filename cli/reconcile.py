"""`postbacks reconcile`: proves that nothing is missing and nothing is duplicated, or lists what is."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

import click
from msgspec import json, to_builtins
from rich.console import Console

from cli.options import TIME, SettingsLoader
from cli.progress import ProgressBars
from cli.reconcile_table import render
from operations.reconcile.run import reconcile as run
from operations.rows import connect
from runtime.clickhouse.errors import QueryFailed
from runtime.kafka.clients import client_options
from runtime.logging import configure_logs
from runtime.process import DONE, FAILED

#: Below the 400 days after which ClickHouse deletes rows, by whole months.
SINCE = "360d"
#: The table's width; a narrower terminal wraps its lines.
WIDTH = 110


@click.command()
@click.option(
    "--since",
    type=TIME,
    default=SINCE,
    show_default=True,
    help="Check what was received since a time (UTC), or so long ago: 30m, 6h, 7d.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON object.")
@click.pass_obj
def reconcile(load: SettingsLoader, since: datetime, as_json: bool) -> None:
    """Prove that ClickHouse has everything accepted, exactly once.

    Compares, for every cluster and partition, the offsets that the sinks have committed with the rows in
    ClickHouse; every event with the facts of its message; and the keys of the topic `messages` with the
    messages in ClickHouse. Changes nothing.

    Records that are not committed yet are pending, which is no failure. Offsets without a record, such as
    transaction markers, are not missing. Of a cluster that no longer exists, only offsets between stored
    rows can be found missing.

    \b
    Columns:
      offsets     expected, from the first one received since then
      stored      in ClickHouse
      refused     of these, in `rejected`: ClickHouse refused the row
      missing     should be stored by now, and is not
      pending     not committed yet
      repeated    surplus rows until ClickHouse merges them; views omit them
      duplicates  surplus rows that no merge will remove

    \b
    Example:
      postbacks reconcile
      postbacks reconcile --since 6h --json

    \b
    Settings:
      POSTBACKS_KAFKA            Kafka's brokers
      POSTBACKS_KAFKA_SECURITY…  TLS and authentication
      POSTBACKS_CLICKHOUSE       URL of ClickHouse, with user and password

    \b
    Exit status:
      0  complete: nothing missing, no duplicates
      1  not complete, or Kafka or ClickHouse does not answer
      2  a setting or an option is wrong
    """
    settings = load()
    configure_logs("error", settings.log_format)
    query = connect(settings.clickhouse)
    try:
        with ProgressBars() as progress:
            report = asyncio.run(run(query, client_options(settings), since, progress))
    except QueryFailed as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        totals = {name: getattr(report, name) for name in ("complete", "missing", "duplicates", "pending")}
        click.echo(json.encode(totals | to_builtins(report)))
    else:
        width = max(Console().width, WIDTH)
        Console(highlight=False, width=width).print(render(report))
    sys.exit(DONE if report.complete else FAILED)
