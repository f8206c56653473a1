"""`postbacks replay`: what was kept goes through the gateway's parser and into Kafka once more."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from cli.command import Load
from cli.options import parse_time
from cli.progress import Bars
from gateway.kafka.sink import KafkaSink
from gateway.postback import POSTBACK_TOPICS
from gateway.sink import Unavailable
from gateway.topics import gateway_topics
from operations.replay.run import Outcome, Replay
from operations.replay.source import Source
from operations.replay.stored_request import Record
from operations.rows import connect
from runtime.clickhouse.query import QueryFailed
from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.clients import client_options
from runtime.logging import configure_logs
from runtime.process import DONE, FAILED
from runtime.settings import Settings

RATE = 1_000.0
#: Seconds that Kafka has for its first answer.
OPEN_SECONDS = 20.0
#: Seconds to retry while Kafka does not take a record, and between two tries.
RETRY_TIMEOUT, RETRY_INTERVAL = 60.0, 0.5


@click.command()
@click.argument("table", type=click.Choice(["rejected", "postbacks"]))
@click.option("--since", required=True, help="Received then or later: a time (UTC), or how long ago: 6h, 7d.")
@click.option("--until", default="0s", help="Received before then. [default: now]")
@click.option("--reason", default="", help="Of rejected: for this reason only (no_type, failure, …).")
@click.option("--account", default="", help="Of this account only.")
@click.option("--dry-run", is_flag=True, help="Only say what would be published.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=RATE,
    show_default=True,
    help="Postbacks a second, at most.",
)
@click.pass_obj
def replay(
    load: Load,
    table: str,
    since: str,
    until: str,
    reason: str,
    account: str,
    dry_run: bool,
    rate: float,
) -> None:
    """Publish again what was rejected, or all postbacks, as ClickHouse has kept them.

    What came is read by the parser of this version, so that one that was mended takes what an older one
    rejected; what is still no postback stays rejected. Nothing is counted twice: event ids and times are
    those of then. It goes in the order in which things came, and says how far it got when it is broken off.

    \b
    Example:
      postbacks replay rejected --since 7d --dry-run
      postbacks replay rejected --since 2026-11-20 --until 2026-11-21T12:00 --reason failure
      postbacks replay postbacks --since 6h --account acme --rate 200

    \b
    Settings:
      POSTBACKS_CLICKHOUSE       where ClickHouse is, and as whom to ask
      POSTBACKS_KAFKA            where Kafka is
      POSTBACKS_KAFKA_SECURITY…  how to talk to it
      POSTBACKS_PARTITIONS       of the topics
      POSTBACKS_REPLICATION      copies of the topics, should they have to be made

    \b
    Exit status:
      0  all of it was published
      1  Kafka or ClickHouse does not answer, or it was broken off
      2  a setting, an option or a topic is not as it must be
    """
    if reason and table != "rejected":
        raise click.UsageError("--reason is for what was rejected")
    source = Source(
        "rejected" if table == "rejected" else "postbacks",
        _moment("--since", since),
        _moment("--until", until),
        reason,
        account,
    )
    settings = load()
    configure_logs("error", settings.log_format)
    replaying = Replay(connect(settings.clickhouse.get_secret_value()), source, rate)
    try:
        asyncio.run(_rehearse(replaying) if dry_run else _perform(replaying, settings))
    except QueryFailed as error:
        click.echo(error, err=True)
    except Unavailable as error:
        click.echo(f"Kafka does not take them: {error}", err=True)
    _tell(replaying.outcome, "Would publish" if dry_run else "Published")
    sys.exit(DONE if replaying.outcome.finished else FAILED)


def _moment(option: str, value: str) -> datetime:
    try:
        return parse_time(value, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


async def _rehearse(replaying: Replay) -> None:
    async def discard(record: Record) -> None:
        """A dry run publishes nothing."""

    with Bars() as bars:
        await replaying.run(discard, _broken_off(), bars)


async def _perform(replaying: Replay, settings: Settings) -> None:
    topics, options = gateway_topics(settings), client_options(settings)
    async with KafkaSink(options, topics, settings.linger, settings.ack_timeout, Health()) as publisher:
        await _open(publisher)

        async def publish(record: Record) -> None:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(Unavailable),
                stop=stop_after_delay(RETRY_TIMEOUT),
                wait=wait_fixed(RETRY_INTERVAL),
                reraise=True,
            ):
                with attempt:
                    await publisher.keep(*record)

        with Bars() as bars:
            await replaying.run(publish, _broken_off(), bars)


async def _open(publisher: KafkaSink) -> None:
    """Wait until Kafka has answered.

    Raises:
        KafkaAway: it does not.
        TopicMismatch: the topics are not as they must be.
    """
    opened = asyncio.ensure_future(publisher.opened())
    refused = asyncio.ensure_future(publisher.refused())
    try:
        done, _ = await asyncio.wait(
            (opened, refused), timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for ended in done:
            ended.result()
        if not done:
            raise KafkaUnavailable(f"Kafka does not answer: {publisher.away}")
    finally:
        opened.cancel()
        refused.cancel()


def _broken_off() -> asyncio.Event:
    """Set by Ctrl-C or SIGTERM, so that what is under way comes to its end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _tell(outcome: Outcome, verb: str) -> None:
    counts = Table(box=None, pad_edge=False, show_header=False)
    counts.add_column()
    counts.add_column(justify="right")
    for topic in POSTBACK_TOPICS:
        counts.add_row(f"{verb} to {topic}", f"{outcome.published[topic]:,}")
    for reason, count in sorted(outcome.rejected.items()):
        counts.add_row(f"Still rejected: {reason}", f"{count:,}")
    Console(highlight=False).print(counts, soft_wrap=True)
    if not outcome.finished and outcome.reached:
        click.echo(f"Broken off; to go on: --since {outcome.reached}", err=True)
