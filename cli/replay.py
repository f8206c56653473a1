"""`postbacks replay`: publishes stored requests again, through the gateway's parser."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

import click
from rich.console import Console
from rich.table import Table

from cli.options import RATE, TIME, SettingsLoader
from cli.progress import ProgressBars
from cli.publisher import discard, open_publisher
from gateway.postback import POSTBACK_TOPICS
from gateway.sink import Unavailable
from gateway.submission import SUBMISSIONS
from operations.replay.publish import Publish
from operations.replay.run import Replay, ReplayResult
from operations.replay.source import Source
from operations.rows import connect
from runtime.clickhouse.errors import QueryFailed
from runtime.logging import configure_logs
from runtime.process import DONE, FAILED, stop_on_signals
from runtime.settings import Settings


@click.command()
@click.argument("table", type=click.Choice(["rejected", "postbacks"]))
@click.option(
    "--since", type=TIME, required=True, help="Received at this time (UTC) or later; or so long ago: 6h, 7d."
)
@click.option("--until", type=TIME, default="0s", help="Received before this time. [default: now]")
@click.option("--reason", default="", help="Only rejections for this reason (no_type, failure, …).")
@click.option("--account", default="", help="Only this account.")
@click.option("--dry-run", is_flag=True, help="Publish nothing; print what would be published.")
@click.option(
    "--rate",
    type=RATE,
    metavar="RATE",
    default=1_000.0,
    show_default=True,
    help="Records per second, at most.",
)
@click.pass_obj
def replay(
    load: SettingsLoader,
    table: str,
    since: datetime,
    until: datetime,
    reason: str,
    account: str,
    dry_run: bool,
    rate: float,
) -> None:
    """Publish stored rejections or postbacks again.

    Reads requests from ClickHouse in the order in which they came, and parses them with this version. So a
    fixed parser accepts requests that an older one rejected, those to /submission as submissions; the others
    stay rejected. Nothing is counted twice, as event ids and times stay the same. If the replay is
    interrupted, it prints where to continue.

    \b
    Example:
      postbacks replay rejected --since 7d --dry-run
      postbacks replay rejected --since 2026-11-20 --until 2026-11-21T12:00 \\
        --reason failure
      postbacks replay postbacks --since 6h --account acme --rate 200

    \b
    Settings:
      POSTBACKS_CLICKHOUSE       URL of ClickHouse, with user and password
      POSTBACKS_KAFKA            Kafka's brokers
      POSTBACKS_KAFKA_SECURITY…  TLS and authentication
      POSTBACKS_PARTITIONS       of the topics
      POSTBACKS_REPLICATION      of the topics, if they must be created

    \b
    Exit status:
      0  everything was published
      1  Kafka or ClickHouse does not answer, or the replay was interrupted
      2  a setting, an option or a topic is wrong
    """
    if reason and table != "rejected":
        raise click.UsageError("--reason is only for `rejected`")
    settings = load()
    configure_logs("error", settings.log_format)
    source = Source("rejected" if table == "rejected" else "postbacks", since, until, reason, account)
    replaying = Replay(connect(settings.clickhouse), source, rate)
    try:
        asyncio.run(_run(replaying, discard) if dry_run else _publish(replaying, settings))
    except QueryFailed as error:
        click.echo(error, err=True)
    except Unavailable as error:
        click.echo(f"Kafka does not acknowledge: {error}", err=True)
    _print_result(replaying.result, "Would publish" if dry_run else "Published")
    sys.exit(DONE if replaying.result.finished else FAILED)


async def _publish(replaying: Replay, settings: Settings) -> None:
    async with open_publisher(settings) as publish:
        await _run(replaying, publish)


async def _run(replaying: Replay, publish: Publish) -> None:
    with ProgressBars() as progress:
        await replaying.run(publish, stop_on_signals(), progress)


def _print_result(result: ReplayResult, verb: str) -> None:
    counts = Table(box=None, pad_edge=False, show_header=False)
    counts.add_column()
    counts.add_column(justify="right")
    for topic in (*POSTBACK_TOPICS, SUBMISSIONS):
        counts.add_row(f"{verb} to {topic}", f"{result.published[topic]:,}")
    for reason, count in sorted(result.rejected.items()):
        counts.add_row(f"Still rejected: {reason}", f"{count:,}")
    Console(highlight=False).print(counts, soft_wrap=True)
    if not result.finished and result.reached:
        click.echo(f"Interrupted; to continue: --since {result.reached}", err=True)
