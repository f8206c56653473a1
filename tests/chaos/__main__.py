"""`python -m tests.chaos`: see `--help`. Exit status 0 only when nothing is lost, doubled or wrong."""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.apache_kafka import missing_tools
from tests.chaos.pipeline import frozen_code
from tests.chaos.rest import NoRest
from tests.chaos.run import Outcome, Wanted, run_chaos


@click.command()
@click.option("--seed", "seeds", type=int, multiple=True, default=(1,), help="A run for each; repeatable.")
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", help="Nodes of Apache Kafka.")
@click.option("--postbacks", default=60_000, help="How many are posted.")
@click.option("--rate", default=500.0, help="Postbacks a second, over both gateways.")
@click.option("--faults", default=20, help="How many faults, spread over the posting.")
@click.option("--blackouts", default=0, help="How often everything is killed at once, besides.")
def main(
    seeds: tuple[int, ...], brokers: str, postbacks: int, rate: float, faults: int, blackouts: int
) -> None:
    """Kill, stop and freeze gateways, workers, sinks, brokers and ClickHouse while postbacks come in.

    Then wait for silence, and prove that every postback that got a 2xx is in ClickHouse, counted once, and
    that the messages are what a plain fold over the postbacks says.
    """
    if reason := missing_tools():
        sys.exit(f"A chaos run needs Apache Kafka, which needs Java and Maven: {reason}")
    frozen_code()  # before anybody edits what is imported here
    console, good = Console(), True
    for seed in seeds:
        folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
        began = time.monotonic()
        console.print(f"seed {seed}, {brokers} broker(s); what happens is written to {folder}/chaos.log")
        wanted = Wanted(seed, postbacks, rate, faults, int(brokers), blackouts)
        try:
            outcome = asyncio.run(run_chaos(wanted, folder))
        except NoRest as error:
            console.print(f"seed {seed} did not come to rest: {error}")
            good = False
            continue
        console.print(_table(outcome, time.monotonic() - began))
        good = good and outcome.good
    sys.exit(not good)


def _table(outcome: Outcome, seconds: float) -> Table:
    verdict, posting = outcome.verdict, outcome.posting
    own = resource.getrusage(resource.RUSAGE_SELF)
    kinds = Counter(f"{fault.kind} {fault.target.partition('-')[0]}" for fault in outcome.faults)
    table = Table(show_header=False)
    for name, value in {
        "postbacks": f"{outcome.postbacks:,}",
        "never got a 2xx": f"{outcome.never_acknowledged:,}",
        "answers": ", ".join(f"{code}: {count:,}" for code, count in sorted(posting.answers.items())),
        "faults": f"{len(outcome.faults)}: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        "restarts": str(outcome.restarts),
        "of these without a fault": ", ".join(
            f"{count} {name}" for name, count in sorted(outcome.ended_themselves.items())
        )
        or "0",
        "in Kafka": f"{verdict.records:,} records, {verdict.events:,} events, {verdict.messages:,} messages"
        f" ({verdict.overdue:,} overdue)",
        "stale in `messages`, healed by joining": f"{verdict.stale:,}",
        "lost": str(len(verdict.lost)),
        "doubled": str(len(verdict.doubled)),
        "wrong": str(len(verdict.wrong)),
        "reconcile": f"exit status {outcome.reconciled}",
        "longest gap between two 2xx": f"{posting.longest_gap:.1f} s",
        "took": f"{seconds:.0f} s, {posting.seconds:.0f} s of them posting",
        "itself": f"{own.ru_utime + own.ru_stime:.0f} s of CPU, {own.ru_maxrss >> 10:,} MB at most",
    }.items():
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    main()
