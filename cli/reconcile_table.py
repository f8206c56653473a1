"""A reconciliation for people: a table of the topics, what is missing by name, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from operations.reconcile.report import NAMED, PartitionReport, Report

COLUMNS = ("offsets", "stored", "refused", "missing", "behind", "repeated", "doubled")


def render(report: Report) -> Group:
    """What `postbacks reconcile` prints."""
    parts: list[RenderableType] = []
    clusters = sorted({p.cluster for p in report.partitions} | {report.cluster})
    for cluster in sorted(clusters, key=lambda cluster: cluster != report.cluster):
        gone = "" if cluster == report.cluster else " (another one)"
        table = _topics([p for p in report.partitions if p.cluster == cluster])
        parts += [Text(f"Cluster {cluster}{gone}", style="bold"), table, Text()]
    parts += _checks(report)
    if report.rejected:
        parts += [Text(), _rejected(report)]
    named = list(_named(report))
    if named:
        parts += [Text(), Text("Missing", style="bold red"), *map(Text, named)]
    return Group(*parts, Text(), _verdict(report))


def _topics(partitions: list[PartitionReport]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("topic", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True, min_width=8)
    by_topic = sorted(partitions, key=lambda p: p.topic)
    for topic, own in groupby(by_topic, key=lambda p: p.topic):
        table.add_row(Text(topic), *_totals(list(own)))
    return table


def _totals(partitions: list[PartitionReport]) -> Iterator[Text]:
    totals = {
        "offsets": sum(p.end - p.start for p in partitions),
        **{
            name: sum(getattr(p, name) for p in partitions)
            for name in ("stored", "refused", "missing", "behind", "repeated", "doubled")
        },
    }
    for name in COLUMNS:
        bad = name in ("missing", "doubled") and totals[name]
        yield Text(f"{totals[name]:,}", style="bold red" if bad else "")


def _checks(report: Report) -> Iterator[Text]:
    events, keys = report.events, report.keys
    yield Text(
        f"Postbacks against the facts of their messages: {events.checked:,} looked at, "
        f"{events.missing:,} missing, {events.behind:,} behind"
    )
    yield Text(
        f"Records of `messages` against ClickHouse's messages: {keys.checked:,} looked at, "
        f"{keys.missing:,} missing, {keys.behind:,} behind"
    )


def _rejected(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rejected by", no_wrap=True)
    table.add_column("reason")
    table.add_column("count", justify="right")
    for found in report.rejected:
        table.add_row(Text(found.stage), Text(found.reason), f"{found.count:,}")
    return table


def _named(report: Report) -> Iterator[str]:
    holes = [(p, hole) for p in report.partitions for hole in p.holes]
    for partition, (first, last) in holes[:NAMED]:
        offsets = f"offset {first}" if first == last else f"offsets {first} to {last}"
        yield f"  {partition.topic}/{partition.partition} {offsets} (cluster {partition.cluster})"
    for p in report.partitions:
        if p.doubled:
            yield f"  {p.topic}/{p.partition} has {p.doubled:,} rows that count twice (cluster {p.cluster})"
    for lost in report.events.named:
        yield (
            f"  {lost.type} {lost.event_id} of message {lost.message_id} of {lost.account}, received "
            f"{lost.received_at}, {lost.topic}/{lost.partition} offset {lost.offset}, in no message"
        )
    for key in report.keys.named:
        yield f"  message {key}, in Kafka's topic only"
    left = report.missing - sum(last + 1 - first for _, (first, last) in holes[:NAMED])
    left -= len(report.events.named) + len(report.keys.named)
    if left > 0:
        yield f"  … and {left:,} more"


def _verdict(report: Report) -> Text:
    if not report.complete:
        counts = f"{report.missing:,} missing, {report.doubled:,} doubled"
        return Text(f"Not complete since {report.since}: {counts}", style="bold red")
    behind = f"; {report.behind:,} on their way" if report.behind else ""
    return Text(f"Complete since {report.since}: nothing is missing, nothing doubled{behind}", style="green")
