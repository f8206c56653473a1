"""Run after run, seed by seed, until the time is up or a run fails."""

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
from tests.chaos.run import RunOptions, run_chaos

#: Data folders of a run, without its logs and its result.
DATA_FOLDERS = ("clickhouse", "data", "disk", "kafka/*/data")


def soak(options: RunOptions, seconds: float, console: Console) -> bool:
    """Run with ascending seeds for `seconds`, or until a run fails; return whether all passed.

    The last run is completed. The data of runs that passed is removed, their logs are not.
    """
    deadline, outcomes, result = time.monotonic() + seconds, list[Outcome](), "interrupted"
    try:
        for seed in count(options.seed):
            folder = run_folder(seed)
            outcome = run_once(replace(options, seed=seed), folder, console)
            if outcome:
                outcomes.append(outcome)
            if not (outcome and outcome.passed):
                result = f"seed {seed} failed"
                return False
            remove_data(folder)
            if time.monotonic() > deadline:
                result = "passed"
                return True
        raise AssertionError("unreachable: seeds are infinite")
    finally:
        console.print(soak_table(outcomes, result))


def run_folder(seed: int) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))


def run_once(options: RunOptions, folder: Path, console: Console) -> Outcome | None:
    """Run once and print the result; return None if the run could not be checked."""
    began, outcome = time.monotonic(), None
    console.print(f"seed {options.seed}, {options.brokers} broker(s); log in {folder}/chaos.log")
    try:
        outcome = asyncio.run(run_chaos(options, folder))
        console.print(run_table(outcome, time.monotonic() - began))
    except (NotQuiescent, KafkaFailed) as error:
        console.print(f"Failed: {error}", markup=False, soft_wrap=True)
    if not (outcome and outcome.passed):
        print_tails(folder, console)
    return outcome


def remove_data(folder: Path) -> None:
    for pattern in DATA_FOLDERS:
        for data in folder.glob(pattern):
            shutil.rmtree(data, ignore_errors=True)
