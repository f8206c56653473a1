"""`postbacks reconcile`: proves that nothing is missing and nothing doubled, or says what is."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import click
from msgspec import json, to_builtins
from rich.console import Console

from cli.command import Load
from cli.options import parse_time
from cli.progress import Bars
from cli.reconcile_table import render
from operations.reconcile.run import reconcile as compare
from operations.rows import connect
from runtime.clickhouse.query import QueryFailed
from runtime.kafka.clients import client_options
from runtime.logging import configure_logs
from runtime.process import DONE, FAILED

#: Less than the 400 days after which ClickHouse lets go of rows, by months.
SINCE = "360d"
#: Columns that the table needs; a narrower terminal breaks its lines.
WIDTH = 110


@click.command()
@click.option("--since", default=SINCE, show_default=True, help="A time (UTC), or how long ago: 30m, 6h, 7d.")
@click.option("--json", "as_json", is_flag=True, help="What was found as one JSON object.")
@click.pass_obj
def reconcile(load: Load, since: str, as_json: bool) -> None:
    """Prove that all that was accepted is in ClickHouse, once, and in its message.

    Compared are, for every cluster and partition, the offsets that the sinks have committed with the rows
    that ClickHouse has of them; every event with the facts of its message; and the keys of the topic
    `messages` with the messages in ClickHouse. What is not committed yet is behind, which is no failure. An
    offset at which Kafka has no record, such as the end of a transaction, is nothing missing. Of a cluster
    that is gone only what lies between its rows can be missed. Nothing is changed.

    \b
    Columns:
      refused   stored in `rejected`, as ClickHouse would not have it in `postbacks`
      repeated  rows that are there again until ClickHouse merges its parts; all views leave them out
      doubled   rows that would count twice for ever

    \b
    Example:
      postbacks reconcile
      postbacks reconcile --since 6h --json

    \b
    Settings:
      POSTBACKS_KAFKA            where Kafka is
      POSTBACKS_KAFKA_SECURITY…  how to talk to it
      POSTBACKS_CLICKHOUSE       where ClickHouse is, and as whom to ask

    \b
    Exit status:
      0  nothing is missing, nothing doubled
      1  something is; or Kafka or ClickHouse does not answer
      2  a setting or an option is wrong
    """
    try:
        begin = parse_time(since, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None
    settings = load()
    configure_logs("error", settings.log_format)
    ask = connect(settings.clickhouse.get_secret_value())
    try:
        with Bars() as bars:
            report = asyncio.run(compare(ask, client_options(settings), begin, bars))
    except QueryFailed as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        verdict = {name: getattr(report, name) for name in ("complete", "missing", "doubled", "behind")}
        click.echo(json.encode(verdict | to_builtins(report)))
    else:
        width = max(Console().width, WIDTH)
        Console(highlight=False, width=width).print(render(report))
    sys.exit(DONE if report.complete else FAILED)
