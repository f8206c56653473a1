"""What `postbacks send` prints: the plan of a dry run, and the report of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from operations.timeline import printable
from sending.contact_check import Skipped, Withheld
from sending.contacts import Unchecked
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


def print_preview(rows: Sequence[SendRow], withheld: Mapping[str, Withheld]) -> None:
    """Print which of the rows of a dry run would not be sent; `withheld` is as `preview` returns it."""
    click.echo()
    failed = [why for why in withheld.values() if isinstance(why, Unchecked) and not why.is_about_number]
    if failed:
        _print(f"Which numbers have opted out is not known: {failed[0].reason}")
        return
    found = [(row, withheld[row.id]) for row in rows if row.id in withheld]
    if not found:
        _print("No recipient would be skipped.")
        return
    counts = Counter(why.reason for _, why in found)
    _print_list(
        f"Would not be sent now: {', '.join(f'{reason} {count:,}' for reason, count in counts.items())}",
        [_explain(row, why) for row, why in found],
    )


def print_report(rows: Sequence[SendRow], finished: Finished, log: IntentLog) -> bool:
    """Print what a run did, and what is left; return whether nothing is."""
    report, state = finished.report, log.state
    tried_now = {row.id for row, _ in (*report.results, *report.withheld)}
    table = _table(columns=2)
    counts = Counter(result.status for _, result in report.results)
    counts[SendStatus.NOT_SENT] += len(report.unchecked)
    for status in SendStatus:
        if counts[status] or status is SendStatus.QUEUED:
            table.add_row(TITLES[status], f"{counts[status]:,}")
    for reason, count in Counter(why.reason for _, why in report.skipped).items():
        table.add_row(f"Skipped: {reason}", f"{count:,}")
    before = Counter(
        state.rows[row.id].status for row in rows if row.id in state.rows and row.id not in tried_now
    )
    for status, count in before.items():
        table.add_row(f"{TITLES[status]} before", f"{count:,}")
    not_tried = sum(row.id not in state.rows and row.id not in tried_now for row in rows)
    if not_tried:
        table.add_row("Not tried", f"{not_tried:,}")
    _print(table)
    refusals = Counter(r.detail for _, r in report.results if r.status is SendStatus.REFUSED)
    if refusals:
        click.echo()
        _print_list("Refused:", [f"{count:,}  {detail}" for detail, count in refusals.most_common()])
    _print_withheld("Skipped; a later run asks again:", report.skipped)
    _print_withheld("Not sent, as the recipient could not be checked:", report.unchecked)
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
    queued = {row_id for row_id, row in state.rows.items() if row.status is SendStatus.QUEUED}
    done = queued | {row.id for row, _ in report.skipped}
    is_left = any(row.id not in done for row in rows)
    return not (is_left or unknown or state.pending or finished.rejected)


def _print_withheld(title: str, withheld: Iterable[tuple[SendRow, Withheld]]) -> None:
    if lines := [_explain(row, why) for row, why in withheld]:
        click.echo()
        _print_list(title, lines)


def _explain(row: SendRow, why: Withheld) -> str:
    if not isinstance(why, Skipped):
        return f"{_place(row)}: {why.reason}"
    since = why.answer.since
    at = f" since {since.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if since else ""
    words = f", “{printable(why.answer.words)}”" if why.answer.words else ""
    return f"{_place(row)}: {why.reason}{at}{words}"


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
