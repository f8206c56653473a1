"""A reconciliation's report as text: a table of topics, what is missing, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from operations.reconcile.report import MAX_NAMED, PartitionReport, ReconcileReport

SUMS = ("stored", "refused", "missing", "pending", "repeated", "duplicates")
FAILURES = ("missing", "duplicates")


def render(report: ReconcileReport) -> Group:
    """The output of `postbacks reconcile`."""
    parts: list[RenderableType] = []
    clusters = sorted({p.cluster for p in report.partitions} | {report.cluster})
    for cluster in sorted(clusters, key=lambda cluster: cluster != report.cluster):
        other = "" if cluster == report.cluster else " (not the configured one)"
        table = _topics([p for p in report.partitions if p.cluster == cluster])
        parts += [Text(f"Cluster {cluster}{other}", style="bold"), table, Text()]
    parts += _checks(report)
    if report.rejected:
        parts += [Text(), _rejected(report)]
    failures = list(_failures(report))
    if failures:
        parts += [Text(), Text("Missing or duplicated", style="bold red"), *map(Text, failures)]
    return Group(*parts, Text(), _verdict(report))


def _topics(partitions: list[PartitionReport]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("topic", no_wrap=True)
    for column in ("offsets", *SUMS):
        table.add_column(column, justify="right", no_wrap=True, min_width=8)
    by_topic = sorted(partitions, key=lambda p: p.topic)
    for topic, group in groupby(by_topic, key=lambda p: p.topic):
        table.add_row(Text(topic), *_sums(list(group)))
    return table


def _sums(partitions: list[PartitionReport]) -> Iterator[Text]:
    yield Text(f"{sum(p.end - p.start for p in partitions):,}")
    for name in SUMS:
        count = sum(getattr(p, name) for p in partitions)
        yield Text(f"{count:,}", style="bold red" if name in FAILURES and count else "")


def _checks(report: ReconcileReport) -> Iterator[Text]:
    events, keys = report.events, report.keys
    yield Text(
        f"Events compared with the facts of their messages: {events.checked:,} checked, "
        f"{events.missing:,} missing, {events.pending:,} pending"
    )
    yield Text(
        f"Records of `messages` compared with ClickHouse's messages: {keys.checked:,} checked, "
        f"{keys.missing:,} missing, {keys.pending:,} pending"
    )


def _rejected(report: ReconcileReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rejected by", no_wrap=True)
    table.add_column("reason")
    table.add_column("count", justify="right")
    for rejected in report.rejected:
        table.add_row(Text(rejected.stage), Text(rejected.reason), f"{rejected.count:,}")
    return table


def _failures(report: ReconcileReport) -> Iterator[str]:
    missing = [(p, offsets) for p in report.partitions for offsets in p.missing_ranges][:MAX_NAMED]
    for partition, (first, last) in missing:
        offsets = f"offset {first}" if first == last else f"offsets {first} to {last}"
        yield f"  {partition.topic}/{partition.partition} {offsets} (cluster {partition.cluster})"
    for p in report.partitions:
        if p.duplicates:
            yield f"  {p.topic}/{p.partition}: {p.duplicates:,} duplicate rows (cluster {p.cluster})"
    for event in report.events.named:
        yield (
            f"  {event.type} {event.event_id} of message {event.message_id} of {event.account}, received "
            f"{event.received_at}, {event.topic}/{event.partition} offset {event.offset}, in no message"
        )
    for key in report.keys.named:
        yield f"  message {key}, only in Kafka's topic"
    listed = sum(last + 1 - first for _, (first, last) in missing)
    unlisted = report.missing - listed - len(report.events.named) - len(report.keys.named)
    if unlisted > 0:
        yield f"  … and {unlisted:,} more"


def _verdict(report: ReconcileReport) -> Text:
    if not report.complete:
        counts = f"{report.missing:,} missing, {report.duplicates:,} duplicates"
        return Text(f"Not complete since {report.since}: {counts}", style="bold red")
    pending = f"; {report.pending:,} pending" if report.pending else ""
    return Text(f"Complete since {report.since}: nothing missing, no duplicates{pending}", style="green")
