"""What is printed of one run, of a soak and of a failure."""

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
    """One run, which took so many seconds."""
    verdict, posting = outcome.verdict, outcome.posting
    own = resource.getrusage(resource.RUSAGE_SELF)
    kinds = Counter(f"{fault.kind} {fault.target.partition('-')[0]}" for fault in outcome.faults)
    return key_values(
        {
            "postbacks": f"{outcome.postbacks:,}",
            "never got a 2xx": f"{outcome.never_acknowledged:,}",
            "answers": ", ".join(f"{code}: {count:,}" for code, count in sorted(posting.answers.items())),
            "faults": f"{len(outcome.faults)}: "
            + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
            "restarts": str(outcome.restarts),
            "of these without a fault": _counts(outcome.ended_themselves),
            "in Kafka": f"{verdict.records:,} records, {verdict.events:,} events,"
            f" {verdict.messages:,} messages ({verdict.overdue:,} overdue)",
            "stale in `messages`, healed by joining": f"{verdict.stale:,}",
            "lost": str(len(verdict.lost)),
            "doubled": str(len(verdict.doubled)),
            "wrong": str(len(verdict.wrong)),
            "reconcile": f"exit status {outcome.reconciled}",
            "longest gap between two 2xx": f"{posting.longest_gap:.1f} s",
            "longest time without progress": ", ".join(
                f"{group} {seconds:.1f} s" for group, seconds in outcome.without_progress.items()
            ),
            "took": f"{seconds:.0f} s, {posting.seconds:.0f} s of them posting",
            "itself": f"{own.ru_utime + own.ru_stime:.0f} s of CPU, {own.ru_maxrss >> 10:,} MB at most",
        }
    )


def soak_table(outcomes: Sequence[Outcome], result: str) -> Table:
    """All runs of a soak that came to an outcome."""
    ended: Counter[str] = Counter()
    idle: dict[str, float] = {}
    for outcome in outcomes:
        ended.update(outcome.ended_themselves)
        for group, seconds in outcome.without_progress.items():
            idle[group] = max(idle.get(group, 0.0), seconds)
    silence = max([outcome.posting.longest_gap for outcome in outcomes], default=0.0)
    seeds = [outcome.seed for outcome in outcomes]
    return key_values(
        {
            "seeds": f"{seeds[0]} to {seeds[-1]}" if seeds else "none",
            "runs": str(len(outcomes)),
            "postbacks": f"{sum(outcome.postbacks for outcome in outcomes):,}",
            "faults": str(sum(len(outcome.faults) for outcome in outcomes)),
            "restarts without a fault": _counts(ended),
            "longest time without a 2xx": f"{silence:.1f} s",
            "longest time without progress": ", ".join(
                f"{group} {seconds:.1f} s" for group, seconds in idle.items()
            ),
            "result": result,
        }
    )


def print_tails(folder: Path, console: Console) -> None:
    """The last lines of each process's log."""
    for name, text in log_tails(folder):
        console.rule(f"Last lines of {name}", align="left")
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def key_values(values: Mapping[str, str]) -> Table:
    """Two columns without a header."""
    table = Table(show_header=False)
    for name, value in values.items():
        table.add_row(name, value)
    return table


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "0"
