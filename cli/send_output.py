"""What `postbacks send` prints: the plan of a dry run, and the report of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from sending.intent_log import IntentLog
from sending.intents import IntentState, SendStatus
from sending.rows import SendRow
from sending.run import SendReport
from sending.segments import Encoding

#: Rows that are listed by line; more are counted.
LISTED = 20
TITLES = {
    SendStatus.QUEUED: "Queued",
    SendStatus.REFUSED: "Refused",
    SendStatus.UNKNOWN: "Unknown",
    SendStatus.NOT_SENT: "Not sent",
}


class Finished(NamedTuple):
    """A run, and how its submissions were posted."""

    report: SendReport
    #: Why answers are left in the log; empty if none are.
    problem: str
    #: Answers that the gateway stored as rejected.
    rejected: int


def print_dry_run(rows: Sequence[SendRow], due: Sequence[SendRow], before: IntentState) -> None:
    """Print segments and cost units of the rows that are due."""
    counts = [row.sms.segments for row in due]
    encodings = Counter(count.encoding for count in counts)
    table = _table()
    table.add_row("Messages to send", f"{len(due):,}", "")
    for encoding in Encoding:
        table.add_row(f"  in {encoding}", f"{encodings[encoding]:,}", "")
    table.add_row("Cost units", f"{sum(count.segments for count in counts):,}", "one per segment")
    table.add_row("Longest message", f"{max((c.segments for c in counts), default=0):,}", "segments")
    for status, count in Counter(before.rows[row.id].status for row in rows if row.id in before.rows).items():
        table.add_row(f"{TITLES[status]} before", f"{count:,}", "")
    _print(table)
    costly = [
        (f"{_place(row)}: {count.encoding} because of {count.not_gsm[:20]!r}, segments: {count.segments}")
        for row, count in zip(due, counts, strict=True)
        if count.not_gsm
    ]
    if costly:
        click.echo()
        _print_list("Characters that are not in the GSM alphabet shorten a segment to 70 characters:", costly)
    _print_unknown(rows, before)


def print_report(rows: Sequence[SendRow], finished: Finished, log: IntentLog) -> bool:
    """Print what a run did, and what is left; return whether nothing is."""
    report, state = finished.report, log.state
    sent_now = {row.id for row, _ in report.results}
    table = _table(columns=2)
    for status in SendStatus:
        if (count := report.count(status)) or status is SendStatus.QUEUED:
            table.add_row(TITLES[status], f"{count:,}")
    before = Counter(
        state.rows[row.id].status for row in rows if row.id in state.rows and row.id not in sent_now
    )
    for status, count in before.items():
        table.add_row(f"{TITLES[status]} before", f"{count:,}")
    not_tried = sum(row.id not in state.rows for row in rows)
    if not_tried:
        table.add_row("Not tried", f"{not_tried:,}")
    _print(table)
    refusals = Counter(r.detail for _, r in report.results if r.status is SendStatus.REFUSED)
    if refusals:
        click.echo()
        _print_list("Refused:", [f"{count:,}  {detail}" for detail, count in refusals.most_common()])
    unknown = _print_unknown(rows, state)
    if report.ended:
        click.echo()
        _print(f"The run ended early: {report.ended}. Repeat the command to continue.")
    if state.pending:
        click.echo()
        reason = finished.problem or "there was not enough time"
        _print(
            f"{len(state.pending):,} answers are left in {log.path}: {reason}. "
            "The next run with this log posts them."
        )
    if finished.rejected:
        click.echo()
        _print(f"The gateway rejected {finished.rejected:,} answers; they are in `rejected`.")
    statuses = {state.rows[row.id].status for row in rows if row.id in state.rows}
    return not (not_tried or unknown or state.pending or finished.rejected or statuses - {SendStatus.QUEUED})


def _print_unknown(rows: Sequence[SendRow], state: IntentState) -> int:
    """List the unknown rows of the log, also those of other runs; return how many are among `rows`."""
    ids = [row_id for row_id, row in state.rows.items() if row.status is SendStatus.UNKNOWN]
    places = {row.id: _place(row) for row in rows}  # in the order of the file
    order = {row_id: number for number, row_id in enumerate(places)}
    ids.sort(key=lambda row_id: order.get(row_id, len(order)))
    unknown = [
        f"{places.get(row_id, 'not in this run')}, ReferenceID {state.rows[row_id].reference_id}: "
        f"{state.rows[row_id].detail}"
        for row_id in ids
    ]
    if unknown:
        click.echo()
        _print_list(
            "Unknown, as no answer came. They may have been sent, so they are not sent again:", unknown
        )
        _print("A postback with the ReferenceID proves that a message was sent.")
    return sum(state.rows[row.id].status is SendStatus.UNKNOWN for row in rows if row.id in state.rows)


def _place(row: SendRow) -> str:
    return f"line {row.line}" if row.line else f"to …{row.sms.to_number[-4:]}"


def _print_list(title: str, lines: Sequence[str]) -> None:
    _print(title)
    for line in lines[:LISTED]:
        _print(f"  {line}")
    if len(lines) > LISTED:
        _print(f"  and {len(lines) - LISTED:,} more")


def _table(columns: int = 3) -> Table:
    """Label, count and unit."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for number in range(columns):
        table.add_column(justify="right" if number == 1 else "left")
    return table


def _print(content: Table | str) -> None:
    """Print; a terminal wraps words, a pipe gets whole lines."""
    console = Console(highlight=False, markup=False)
    console.print(content, soft_wrap=not console.is_terminal)
