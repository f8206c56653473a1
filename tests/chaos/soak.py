"""Complete runs, one seed after another, until a time is over or one of them fails."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

from rich.console import Console

from embedded.kafka.node import KafkaFailed
from tests.chaos.outcome import Outcome
from tests.chaos.quiesce import NotQuiescent
from tests.chaos.report import print_tails, run_table, soak_table
from tests.chaos.run import Wanted, run_chaos

#: What a run needs the disk for; its logs and its verdict are kept.
DATA = ("clickhouse", "data", "disk", "kafka/*/data")


def soak(wanted: Wanted, seconds: float, console: Console) -> bool:
    """Run from the wanted seed upwards until `seconds` are over or a run fails; whether all passed.

    A run that has begun is completed. One that passed keeps its logs, one that failed its data, too.
    """
    until, outcomes, result = time.monotonic() + seconds, list[Outcome](), "broken off"
    try:
        for seed in count(wanted.seed):
            folder = run_folder(seed)
            outcome = run_once(replace(wanted, seed=seed), folder, console)
            if outcome:
                outcomes.append(outcome)
            if not (outcome and outcome.good):
                result = f"seed {seed} failed"
                return False
            remove_data(folder)
            if time.monotonic() > until:
                result = "passed"
                return True
        raise AssertionError("seeds have no end")
    finally:
        console.print(soak_table(outcomes, result))


def run_folder(seed: int) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))


def run_once(wanted: Wanted, folder: Path, console: Console) -> Outcome | None:
    """One run with its table, or the logs' last lines if it failed; None if it did not come to rest."""
    began, outcome = time.monotonic(), None
    console.print(
        f"seed {wanted.seed}, {wanted.brokers} broker(s); what happens is written to {folder}/chaos.log"
    )
    try:
        outcome = asyncio.run(run_chaos(wanted, folder))
        console.print(run_table(outcome, time.monotonic() - began))
    except (NotQuiescent, KafkaFailed) as error:
        console.print(f"Failed: {error}", markup=False, soft_wrap=True)
    if not (outcome and outcome.good):
        print_tails(folder, console)
    return outcome


def remove_data(folder: Path) -> None:
    for pattern in DATA:
        for data in folder.glob(pattern):
            shutil.rmtree(data, ignore_errors=True)
