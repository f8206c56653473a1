"""What `postbacks reconcile --repair` writes with, and its report as text of at most 80 columns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table as Columns
from rich.text import Text

from cli.publisher import discard, open_publisher
from gateway.kafka.cloudevents import Headers, headers_of
from gateway.postback import REPUBLISHED
from operations.progress import Progress
from operations.reconcile.report import ReconcileReport
from operations.repair.report import RepairReport
from operations.repair.run import Repair
from operations.replay.publish import Publish
from operations.rows import Query
from runtime.clickhouse.client import Inserter
from runtime.clickhouse.errors import ClickHouseUnavailable
from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.clients import client_options
from runtime.retry import Retrier
from runtime.settings import Settings
from sinks.batch import Record
from sinks.cluster import ClusterGuard
from sinks.tables import POSTBACKS, SUBMITTED, TABLE_OF, Table
from sinks.writer import ClickHouseWriter

#: Columns of the text.
WIDTH = 80
#: Seconds that ClickHouse has to answer an insert, until a failing one is given up, and between attempts.
INSERT_TIMEOUT, RETRY_TIMEOUT, MAX_BACKOFF = 30.0, 30.0, 2.0


async def insert_nothing(table: Table, records: Sequence[Record]) -> None:
    """Insert nothing, for a dry run."""


@asynccontextmanager
async def publish_nothing() -> AsyncIterator[Publish]:
    """Open a publisher that publishes nothing, for a dry run."""
    yield discard


async def repair(
    settings: Settings, query: Query, since: datetime, progress: Progress, report: RepairReport
) -> ReconcileReport:
    """Repair what was received since then, or with `report.dry_run` only find out what would be done.

    Raises:
        QueryFailed, ClickHouseUnavailable, SchemaMismatch: it does not answer, or does not allow the insert.
        KafkaUnavailable, gateway.sink.Unavailable: Kafka does not answer.
    """
    kafka = client_options(settings)

    if report.dry_run:
        return await Repair(query, kafka, since, insert_nothing, publish_nothing, progress, report).run()
    cluster = ClusterGuard(kafka)
    inserter = Inserter(settings.clickhouse, INSERT_TIMEOUT)
    retrier = Retrier(Health(), (ClickHouseUnavailable, KafkaUnavailable), MAX_BACKOFF, timeout=RETRY_TIMEOUT)
    try:
        await cluster.open(TABLE_OF)
        insert = ClickHouseWriter(inserter, cluster, retrier).write
        return await Repair(
            query,
            kafka,
            since,
            insert,
            lambda: open_publisher(settings, _headers_again),
            progress,
            report,
        ).run()
    finally:
        await cluster.close()
        await inserter.close()


def render_repair(report: RepairReport) -> Group:
    """The report as text."""
    parts: list[RenderableType] = [Text("Would repair" if report.dry_run else "Repaired", style="bold")]
    done = Columns(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    done.add_column()
    done.add_column(justify="right")
    verbs = ("insert into", "publish to") if report.dry_run else ("inserted into", "published to")
    for verb, counts in zip(verbs, (report.inserted, report.published), strict=True):
        for name, count in sorted(counts.items()):
            done.add_row(Text(f"  {verb} {name}"), Text(f"{count:,}"))
    parts.append(done if report.changes else Text("  nothing"))
    if report.dry_run and not {POSTBACKS.name, SUBMITTED.name}.isdisjoint(report.inserted):
        parts.append(Text("  publish those of the inserted events that are in no message"))
    if report.unrepairable:
        parts += [Text(), Text(f"Cannot be repaired: {report.unrepairable:,}", style="bold red")]
        parts += _losses(report)
    if report.pending:
        parts += [Text(), Text(f"Not processed yet by {report.pending}. Does it run?", style="bold red")]
    return Group(*parts)


def _losses(report: RepairReport) -> Iterator[Text]:
    for loss in report.losses:
        yield Text(f"  {loss.what}")
        yield Text(f"    {loss.why}")


def _headers_again(topic: str, value: bytes) -> Headers:
    return [*headers_of(topic, value), REPUBLISHED]
