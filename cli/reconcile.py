"""`postbacks reconcile`: proves that nothing is missing and nothing is duplicated, or lists what is."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

import click
from msgspec import json, to_builtins
from rich.console import Console, Group, RenderableType
from rich.text import Text

from cli.options import TIME, SettingsLoader
from cli.progress import ProgressBars
from cli.reconcile_table import render
from cli.repair import WIDTH as REPAIR_WIDTH
from cli.repair import render_repair
from cli.repair import repair as run_repair
from gateway.sink import Unavailable
from operations.progress import Progress
from operations.reconcile.report import ReconcileReport
from operations.reconcile.run import reconcile as run
from operations.repair.report import RepairReport
from operations.rows import Query, connect
from runtime.clickhouse.errors import ClickHouseFailed
from runtime.errors import StartupError
from runtime.kafka.clients import client_options
from runtime.logging import configure_logs
from runtime.process import DONE, FAILED
from runtime.settings import Settings

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
@click.option("--repair", is_flag=True, help="Insert or publish again what is missing; then reconcile again.")
@click.option("--dry-run", is_flag=True, help="With --repair: change nothing, and print what it would do.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON object.")
@click.pass_obj
def reconcile(load: SettingsLoader, since: datetime, repair: bool, dry_run: bool, as_json: bool) -> None:
    """Prove that ClickHouse has everything accepted, exactly once.

    Compares, for every cluster and partition, the offsets that the sinks have committed with the rows in
    ClickHouse; every event with the facts of its message; and the keys of the topic `messages` with the
    messages in ClickHouse. Changes nothing without --repair.

    Records that are not committed yet are pending, which is no failure. Offsets without a record, such as
    transaction markers, are not missing. Of a cluster that no longer exists, only offsets between stored
    rows can be found missing.

    --repair reads from Kafka what ClickHouse lacks, and inserts it as the sinks do. Postbacks and submissions
    that are in no message are published again, which needs running streams and sinks. Nothing is counted
    twice; their table then has a row more for each of them, as it has one per record. What neither Kafka nor
    ClickHouse has any more is listed. A dry run does not know which of the missing rows must be published,
    too.

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
      postbacks reconcile --repair --dry-run
      postbacks reconcile --repair

    \b
    Settings:
      POSTBACKS_KAFKA            Kafka's brokers
      POSTBACKS_KAFKA_SECURITY…  TLS and authentication
      POSTBACKS_CLICKHOUSE       URL of ClickHouse, with user and password
      POSTBACKS_PARTITIONS       of the topics, if events are published

    \b
    Exit status:
      0  complete (with --repair: afterwards): nothing missing, no duplicates
      1  not complete, or Kafka or ClickHouse does not answer
      2  a setting or an option is wrong
    """
    if dry_run and not repair:
        raise click.UsageError("--dry-run is only for --repair")
    settings = load()
    configure_logs("error", settings.log_format)
    query = connect(settings.clickhouse)
    repaired = RepairReport(dry_run=dry_run) if repair else None
    try:
        with ProgressBars() as progress:
            report = asyncio.run(_run(settings, query, since, progress, repaired))
    except (ClickHouseFailed, StartupError, Unavailable) as error:
        if repaired and repaired.changes and not as_json:
            _print(render_repair(repaired), REPAIR_WIDTH)
        if isinstance(error, StartupError):
            raise
        raise click.ClickException(str(error)) from None
    if as_json:
        totals = {name: getattr(report, name) for name in ("complete", "missing", "duplicates", "pending")}
        repairs = {"repair": to_builtins(repaired)} if repaired else {}
        click.echo(json.encode(totals | repairs | to_builtins(report)))
    else:
        if repaired:
            _print(Group(render_repair(repaired), Text()), REPAIR_WIDTH)
        _print(render(report), max(Console().width, WIDTH))
    sys.exit(DONE if report.complete else FAILED)


async def _run(
    settings: Settings, query: Query, since: datetime, progress: Progress, repaired: RepairReport | None
) -> ReconcileReport:
    if repaired:
        return await run_repair(settings, query, since, progress, repaired)
    return (await run(query, client_options(settings), since, progress)).report


def _print(text: RenderableType, width: int) -> None:
    Console(highlight=False, width=width).print(text)
