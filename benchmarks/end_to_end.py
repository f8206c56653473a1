"""End to end: the highest rate that holds with everything on one machine, and how soon SQL shows a message.

A rate holds when its postbacks are all answered with 200, as fast as they come, and no stage falls behind.
One climb a contender, whatever the number of rounds: each of its steps takes as long as a trial elsewhere.
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
from benchmarks.harness.machine import machine, now
from benchmarks.harness.payloads import bodies, write_bodies
from benchmarks.harness.posting import post
from benchmarks.harness.query_latency import seconds_to_be_queryable
from benchmarks.harness.rate_search import highest
from benchmarks.harness.result import Result, Target, ratios, targets, values
from benchmarks.harness.stack import PARTITIONS, Stack
from benchmarks.harness.trials import Candidate, Figures, Plan, alternate
from benchmarks.harness.usage import cpu_seconds

TITLE = "End to end: everything on one machine"
RUNGS = (125, 250, 375, 500, 750, 1000, 1250, 1500, 2000, 2500, 3000, 4000, 6000, 8000)
HOLD_SECONDS, PROBE_SECONDS, QUERY_SECONDS = 60.0, 12.0, 30.0
#: Seconds of traffic that a stage may be behind at the end; two of them are its batches and commits.
LAG_SECONDS, ACHIEVED = 5.0, 0.97
WARM_RATE, WARM_SECONDS = 50, 3.0
#: Records behind that are as good as none, and how long to wait for it.
SETTLED, SETTLE_SECONDS = 50, 180.0

OURS, TUNED, NAIVE = "ours", "ours, postbacks gathered for longer", "naive stack"
#: For a machine that does everything, and has a second to spare.
TUNING = {"POSTBACKS_LINGER": "0.01", "POSTBACKS_FETCH_WAIT": "0.15"}
RATE, P50, P99 = "postbacks/s held", "p50 s", "p99 s"


class NothingHolds(Exception):
    """Not even the lowest rate."""


async def measure(plan: Plan) -> Result:
    """Climb with ours, by default and tuned, and the naive stack; each then runs at half of what it held.

    The plan's size is for how many seconds a rate has to hold.
    """
    about = machine()
    hold = float(plan.size or HOLD_SECONDS)
    climbs = [
        _Climb(OURS, lambda folder: stack.ours(folder, {}), hold),
        _Climb(TUNED, lambda folder: stack.ours(folder, TUNING), hold),
        _Climb(NAIVE, stack.naive, hold),
    ]
    contenders = [Candidate(climb.name, climb.run) for climb in climbs]
    trials = await alternate(contenders, replace(plan, rounds=1))
    soon = {name: list(values(trials, _at_half(name), P99).values()) for name in (OURS, TUNED)}
    return Result(
        name="end_to_end",
        title=TITLE,
        at=now(),
        machine=about,
        conditions=[
            "load generator, gateway, Kafka, streams, sinks and ClickHouse on one machine, a process each",
            f"requests of the simulated provider over {CONNECTIONS} connections, {PARTITIONS} partitions",
            f"held: for {hold:g} s all answered with 200, at least {ACHIEVED:.0%} of the rate, and no stage "
            f"more than {LAG_SECONDS:g} s of traffic behind at the end",
            f"rates tried: {', '.join(f'{rung:,}' for rung in RUNGS)} a second",
            f"{TUNED}: {' '.join(f'{name}={value}' for name, value in TUNING.items())}",
        ],
        trials=trials,
        targets=[
            *targets(
                {
                    (f"{name}: {RATE} of the naive stack", 4): ratios(trials, RATE, name, NAIVE)
                    for name in soon
                }
            ),
            *(
                Target(f"{name}: p99 from 200 to SQL at half load, s", "at most", 2, waits)
                for name, waits in soon.items()
                if waits
            ),
        ],
        remarks=[f"{climb.name}: {fall}" for climb in climbs for fall in climb.falls],
    )


def _at_half(name: str) -> str:
    return f"{name}, at half load"


class _Climb:
    """One contender's way up the ladder."""

    def __init__(
        self, name: str, start: Callable[[Path], AbstractAsyncContextManager[Stack]], hold: float
    ) -> None:
        self.name = name
        #: Which rates did not hold, and why.
        self.falls: list[str] = []
        self._start = start
        self._hold = hold
        self._bodies = bodies(1)
        self._cpu: Mapping[str, float] = {}

    async def run(self) -> Mapping[str, Figures]:
        """
        Raises:
            NothingHolds: see there.
        """
        with TemporaryDirectory() as folder:
            async with self._start(Path(folder)) as running:
                await self._post(running, Path(folder), WARM_RATE, WARM_SECONDS)
                rate = await highest(
                    RUNGS,
                    lambda rung, seconds: self._holds(running, Path(folder), rung, seconds),
                    min(PROBE_SECONDS, self._hold),
                    self._hold,
                )
                if rate is None:
                    raise NothingHolds(f"{self.name}: {self.falls}")
                held = {RATE: float(rate), **self._cpu}
                await _settle(running)
                half = rate / 2
                chosen = list(islice(bodies(2), int(half * min(QUERY_SECONDS, self._hold))))
                waits = quantiles(await seconds_to_be_queryable(running, Path(folder), chosen, half), n=100)
        return {
            self.name: held,
            _at_half(self.name): {"at postbacks/s": half, P50: waits[49], P99: waits[98]},
        }

    async def _holds(self, running: Stack, folder: Path, rate: int, seconds: float) -> bool:
        await _settle(running)
        used = _cpu(running)
        load = await self._post(running, folder, rate, seconds)
        behind = await running.behind()
        self._cpu = {
            f"{name}, CPU s per million": (after - used[name]) / load.answers * 1e6
            for name, after in _cpu(running).items()
        }
        fall = _fall(load, behind, rate)
        verdict = fall or "holds"
        print(f"  {self.name}: {rate:,}/s for {seconds:g} s: {verdict} (p99 {load.p99:.0f} ms)", flush=True)
        if fall:
            self.falls.append(f"{rate:,}/s did not hold for {seconds:g} s: {fall}")
        return not fall

    async def _post(self, running: Stack, folder: Path, rate: int, seconds: float) -> Load:
        """The next bodies of the contender's own; none is posted twice."""
        file = folder / "bodies"
        write_bodies(file, list(islice(self._bodies, int(rate * seconds))))
        return await post(running.address, file, seconds, rate)


def _fall(load: Load, behind: Mapping[str, int], rate: int) -> str:
    """Why it did not hold; empty when it did."""
    whys = [f"{count:,} answers were {status}" for status, count in load.statuses.items() if status != "200"]
    if load.rate < ACHIEVED * rate:
        whys.append(f"{load.rate:,.0f}/s were answered")
    whys += [
        f"{stage} {records / rate:.1f} s behind"
        for stage, records in behind.items()
        if records > LAG_SECONDS * rate
    ]
    return ", ".join(whys)


def _cpu(running: Stack) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in running.pids.items()}


async def _settle(running: Stack) -> None:
    """Return when all stages have taken what there is.

    Raises:
        TimeoutError: they do not.
        ProcessLookupError: one of them has ended.
    """
    began = monotonic()
    while any(records > SETTLED for records in (await running.behind()).values()):
        _cpu(running)
        if monotonic() - began > SETTLE_SECONDS:
            raise TimeoutError(f"Behind after {SETTLE_SECONDS:g} s without load: {await running.behind()}")
        await asyncio.sleep(1)
