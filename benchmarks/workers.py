"""Workers: what two of streams do beside one, when each has its own share of a core.

Two at full speed would need the core that Kafka needs. So Linux (cgroup v1) holds each to a share, from the
moment at which all have their partitions; until then they may start as quickly as they can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.correlation import CPU, PARTITIONS, RATE
from benchmarks.harness.backlog import forget, make_backlog
from benchmarks.harness.drain import follow, steady
from benchmarks.harness.engines import kafka
from benchmarks.harness.machine import machine, now
from benchmarks.harness.result import Result, ratios, targets
from benchmarks.harness.trials import Candidate, Figures, Plan, alternate
from benchmarks.harness.worker import worker
from streams.message import MESSAGES

TITLE = "Workers: two beside one, each with a share of a core"
EVENTS = 900_000
SHARE, PERIOD_MICROSECONDS = 0.3, 100_000
GROUPS = Path("/sys/fs/cgroup/cpu")
ONE, TWO = "one worker", "two workers"


class NoShares(Exception):
    """Linux lets nobody say here how much of a core a process gets."""


async def measure(plan: Plan) -> Result:
    """Let one and two of them drain the same topics.

    Raises:
        NoShares: there is no cgroup v1 for CPUs, or it is not for this user.
    """
    size = plan.size or EVENTS
    with TemporaryDirectory() as folder, kafka(Path(folder)) as broker:
        about = machine()
        ends = await make_backlog(broker.address, PARTITIONS, size)

        def contender(name: str, number: int) -> Candidate:
            async def run() -> Mapping[str, Figures]:
                figures = await _drain(broker.address, ends, number)
                await forget(broker.address, ["streams"], [MESSAGES])
                return {name: figures}

            return Candidate(name, run)

        trials = await alternate([contender(ONE, 1), contender(TWO, 2)], plan)
    return Result(
        name="workers",
        title=TITLE,
        at=now(),
        machine=about,
        conditions=[
            f"{size:,} postbacks in {PARTITIONS} partitions of each topic; a worker has {SHARE:g} of a core",
            broker.name,
        ],
        trials=trials,
        targets=targets({(f"{RATE} of two workers beside one", 1.7): ratios(trials, RATE, TWO, ONE)}),
    )


async def _drain(kafka: str, ends: Mapping[Any, int], number: int) -> Figures:
    with ExitStack() as stack:
        states = [Path(stack.enter_context(TemporaryDirectory())) for _ in range(number)]
        workers = [stack.enter_context(worker(kafka, PARTITIONS, folder)) for folder in states]
        for each in workers:
            await each.ready()
        for each in workers:
            stack.enter_context(_held_to_a_share(each.pid))
        done = steady(await follow(kafka, "streams", ends, [each.pid for each in workers]))
    assert min(done.cpu) > max(done.cpu) / 2, f"the work was not shared: {done.cpu} CPU s"
    return {RATE: done.events / done.seconds, CPU: sum(done.cpu) / done.events * 1e6}


@contextmanager
def _held_to_a_share(pid: int) -> Iterator[None]:
    group = GROUPS / f"postbacks-{pid}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoShares(f"{GROUPS}: {error.strerror}") from error
    try:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
        (group / "cpu.cfs_quota_us").write_text(str(round(SHARE * PERIOD_MICROSECONDS)))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        (GROUPS / "cgroup.procs").write_text(str(pid))
        group.rmdir()
