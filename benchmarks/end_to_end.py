"""End to end: the highest rate that one machine sustains, and the time until SQL sees a message.

A rate is sustained if all postbacks are answered with 200 at that rate, and no stage builds up lag. There is
one search per candidate, whatever the number of rounds: each step takes as long as a run of other benchmarks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.harness import stack
from benchmarks.harness.load import CONNECTIONS, Load
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.payloads import generate_bodies, write_bodies
from benchmarks.harness.posting import post
from benchmarks.harness.query_latency import query_latencies
from benchmarks.harness.rate_search import highest_rate
from benchmarks.harness.result import Result, Target, figures_by_round, minimum_targets, ratios
from benchmarks.harness.stack import PARTITIONS, RunningStack
from benchmarks.harness.trials import BenchmarkOptions, Candidate, Figures, alternate
from benchmarks.harness.usage import cpu_seconds

TITLE = "End to end: everything on one machine"
RATES = (125, 250, 375, 500, 750, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 6000, 8000)
FULL_SECONDS, PROBE_SECONDS, QUERY_SECONDS = 60.0, 12.0, 30.0
#: Maximum lag of a stage at the end, in seconds of traffic (batches and commits account for two), and the
#: minimum share of the rate that is answered.
MAX_LAG_SECONDS, MIN_SHARE = 5.0, 0.97
WARM_UP_RATE, WARM_UP_SECONDS = 50, 3.0
#: Records of lag that count as none, and the seconds to wait for it.
DRAINED_LAG, DRAIN_TIMEOUT = 50, 180.0

OURS, TUNED, NAIVE = "ours", "ours, larger batches", "naive stack"
#: For a single machine and a latency of about a second.
TUNING = {"POSTBACKS_LINGER": "0.01", "POSTBACKS_FETCH_WAIT": "0.15"}
RATE, P50, P99 = "sustained postbacks/s", "p50 s", "p99 s"


class NoRateSustained(Exception):
    """A candidate does not sustain even the lowest rate."""


async def measure(options: BenchmarkOptions) -> Result:
    """Search with ours, by default and tuned, and the naive stack; each then runs at half of its rate.

    `options.size` is the number of seconds for which a rate must be sustained.
    """
    machine = describe_machine()
    full_seconds = float(options.size or FULL_SECONDS)
    searches = [
        _Search(OURS, lambda folder: stack.open_ours(folder, {}), full_seconds),
        _Search(TUNED, lambda folder: stack.open_ours(folder, TUNING), full_seconds),
        _Search(NAIVE, stack.open_naive, full_seconds),
    ]
    candidates = [Candidate(search.name, search.run) for search in searches]
    trials = await alternate(candidates, replace(options, rounds=1))
    p99 = {name: list(figures_by_round(trials, _at_half(name), P99).values()) for name in (OURS, TUNED)}
    return Result(
        name="end_to_end",
        machine=machine,
        conditions=[
            "load generator, gateway, Kafka, streams, sinks and ClickHouse on one machine, a process each",
            f"requests of the simulated provider over {CONNECTIONS} connections, {PARTITIONS} partitions",
            f"sustained: for {full_seconds:g} s all responses are 200, at least {MIN_SHARE:.0%} of the rate, "
            f"and no stage lags by more than {MAX_LAG_SECONDS:g} s of traffic at the end",
            f"rates: {', '.join(f'{rate:,}' for rate in RATES)} per second",
            f"{TUNED}: {' '.join(f'{name}={value}' for name, value in TUNING.items())}",
        ],
        trials=trials,
        targets=[
            *minimum_targets(
                {
                    (f"{name}: {RATE}, ratio to the naive stack", 4): ratios(trials, RATE, name, NAIVE)
                    for name in p99
                }
            ),
            *(
                Target(f"{name}: p99 from 200 to SQL at half load, s", "at most", 2, latencies)
                for name, latencies in p99.items()
                if latencies
            ),
        ],
        remarks=[f"{search.name}: {failure}" for search in searches for failure in search.failures],
    )


def _at_half(name: str) -> str:
    return f"{name}, at half load"


class _Search:
    """The search for the highest sustained rate of one candidate."""

    def __init__(
        self,
        name: str,
        start: Callable[[Path], AbstractAsyncContextManager[RunningStack]],
        full_seconds: float,
    ) -> None:
        self.name = name
        #: The rates that were not sustained, and why.
        self.failures: list[str] = []
        self._start = start
        self._full_seconds = full_seconds
        self._bodies = generate_bodies(1)
        self._cpu: Mapping[str, float] = {}

    async def run(self) -> Mapping[str, Figures]:
        """
        Raises:
            NoRateSustained: not even the lowest rate is sustained.
        """
        with TemporaryDirectory() as folder:
            async with self._start(Path(folder)) as running:
                await self._post(running, Path(folder), WARM_UP_RATE, WARM_UP_SECONDS)
                rate = await highest_rate(
                    RATES,
                    lambda rate, seconds: self._is_sustained(running, Path(folder), rate, seconds),
                    min(PROBE_SECONDS, self._full_seconds),
                    self._full_seconds,
                )
                if rate is None:
                    raise NoRateSustained(f"{self.name}: {self.failures}")
                figures = {RATE: float(rate), **self._cpu}
                await _wait_drained(running)
                half = rate / 2
                bodies = islice(generate_bodies(2), int(half * min(QUERY_SECONDS, self._full_seconds)))
                latencies = await query_latencies(running, Path(folder), list(bodies), half)
                cuts = quantiles(latencies, n=100)
        return {
            self.name: figures,
            _at_half(self.name): {"at postbacks/s": half, P50: cuts[49], P99: cuts[98]},
        }

    async def _is_sustained(self, running: RunningStack, folder: Path, rate: int, seconds: float) -> bool:
        await _wait_drained(running)
        before = _cpu(running)
        load = await self._post(running, folder, rate, seconds)
        lags = await running.lags()
        self._cpu = {
            f"{name} CPU s per million": (after - before[name]) / load.responses * 1e6
            for name, after in _cpu(running).items()
        }
        failure = _failure(load, lags, rate)
        outcome = failure or "sustained"
        print(f"  {self.name}: {rate:,}/s for {seconds:g} s: {outcome} (p99 {load.p99:.0f} ms)", flush=True)
        if failure:
            self.failures.append(f"{rate:,}/s not sustained for {seconds:g} s: {failure}")
        return not failure

    async def _post(self, running: RunningStack, folder: Path, rate: int, seconds: float) -> Load:
        """Post the candidate's next bodies. None is posted twice."""
        file = folder / "bodies"
        write_bodies(file, list(islice(self._bodies, int(rate * seconds))))
        return await post(running.address, file, seconds, rate)


def _failure(load: Load, lags: Mapping[str, int], rate: int) -> str:
    """Return why the rate was not sustained; empty if it was."""
    reasons = [
        f"{count:,} responses were {status}" for status, count in load.statuses.items() if status != "200"
    ]
    if load.rate < MIN_SHARE * rate:
        reasons.append(f"{load.rate:,.0f} responses/s")
    reasons += [
        f"{stage} lags by {lag / rate:.1f} s" for stage, lag in lags.items() if lag > MAX_LAG_SECONDS * rate
    ]
    return ", ".join(reasons)


def _cpu(running: RunningStack) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in running.pids.items()}


async def _wait_drained(running: RunningStack) -> None:
    """Wait until all stages have processed everything.

    Raises:
        TimeoutError: a stage did not within `DRAIN_TIMEOUT`.
        ProcessLookupError: a process has exited.
    """
    began = monotonic()
    while any(lag > DRAINED_LAG for lag in (await running.lags()).values()):
        _cpu(running)  # raises if a process has exited
        if monotonic() - began > DRAIN_TIMEOUT:
            raise TimeoutError(f"Lag after {DRAIN_TIMEOUT:g} s without load: {await running.lags()}")
        await asyncio.sleep(1)
