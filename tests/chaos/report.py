"""Tables of a run and of a soak, and the logs of a failed run."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.outcome import Outcome
from tests.support.logs import log_tails


def run_table(outcome: Outcome, seconds: float) -> Table:
    """Summarize one run, which took so many seconds."""
    result, posts, contacts = outcome.result, outcome.posts, outcome.result.contact_findings
    own = resource.getrusage(resource.RUSAGE_SELF)
    kinds = Counter(f"{fault.kind} {fault.target.partition('-')[0]}" for fault in outcome.faults)
    return key_values(
        {
            "postbacks": f"{outcome.postbacks:,}",
            "submissions": f"{outcome.submissions:,}",
            "never got a 2xx": f"{outcome.never_acknowledged:,}",
            "responses": ", ".join(f"{code}: {count:,}" for code, count in sorted(posts.responses.items())),
            "faults": f"{len(outcome.faults)}: "
            + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
            "restarts": str(outcome.restarts),
            "of these after unexpected exits": _counts(outcome.unexpected_exits),
            "in Kafka": f"{result.records:,} records, {result.events:,} events,"
            f" {result.submissions:,} submissions, {result.messages:,} messages"
            f" ({result.overdue:,} overdue, {result.unsent:,} unsent), {result.contacts:,} contacts",
            "keys stale in `messages` or `contacts`, corrected by joining": f"{result.stale:,}",
            "lost": str(len(result.lost)),
            "duplicated": str(len(result.duplicated)),
            "wrong": str(len(result.wrong)),
            "contacts": f"{len(contacts.lost)} lost, {len(contacts.superfluous)} superfluous,"
            f" {len(contacts.wrong)} wrong",
            "reconcile": f"exit status {outcome.reconciled}",
            "longest gap between two 2xx": f"{posts.longest_gap:.1f} s",
            "longest stall": ", ".join(
                f"{group} {seconds:.1f} s" for group, seconds in outcome.stalls.items()
            ),
            "took": f"{seconds:.0f} s, {posts.seconds:.0f} s of them posting",
            "harness": f"{own.ru_utime + own.ru_stime:.0f} s of CPU, {own.ru_maxrss >> 10:,} MB at most",
        }
    )


def soak_table(outcomes: Sequence[Outcome], result: str) -> Table:
    """Summarize all runs of a soak that have an outcome."""
    exits: Counter[str] = Counter()
    stalls: dict[str, float] = {}
    for outcome in outcomes:
        exits.update(outcome.unexpected_exits)
        for group, seconds in outcome.stalls.items():
            stalls[group] = max(stalls.get(group, 0.0), seconds)
    longest_gap = max([outcome.posts.longest_gap for outcome in outcomes], default=0.0)
    seeds = [outcome.seed for outcome in outcomes]
    return key_values(
        {
            "seeds": f"{seeds[0]} to {seeds[-1]}" if seeds else "none",
            "runs": str(len(outcomes)),
            "postbacks": f"{sum(outcome.postbacks for outcome in outcomes):,}",
            "faults": str(sum(len(outcome.faults) for outcome in outcomes)),
            "unexpected exits": _counts(exits),
            "longest time without a 2xx": f"{longest_gap:.1f} s",
            "longest stall": ", ".join(f"{group} {seconds:.1f} s" for group, seconds in stalls.items()),
            "result": result,
        }
    )


def print_tails(folder: Path, console: Console) -> None:
    """Print the last lines of each process's log."""
    for name, text in log_tails(folder):
        console.rule(f"Last lines of {name}", align="left")
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def key_values(values: Mapping[str, str]) -> Table:
    """Build a table of two columns without a header."""
    table = Table(show_header=False)
    for name, value in values.items():
        table.add_row(name, value)
    return table


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "0"
