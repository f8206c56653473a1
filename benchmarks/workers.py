"""Workers: the rate of two workers of streams against one, each limited to the same share of a core.

At full speed two would need the core that Kafka needs. So Linux (cgroup v1) limits each of them, from when
all have their partitions on; until then they start at full speed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.correlation import CPU, PARTITIONS, RATE
from benchmarks.harness.backlog import produce_backlog, reset
from benchmarks.harness.drain import measure_drain
from benchmarks.harness.engines import open_kafka
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.result import Result, minimum_targets, ratios
from benchmarks.harness.trials import BenchmarkOptions, Candidate, Figures, alternate
from benchmarks.harness.worker import READY_TIMEOUT, open_worker
from streams.message import MESSAGES

TITLE = "Workers: two against one, each limited to a share of a core"
EVENTS = 900_000
SHARE, PERIOD_MICROSECONDS = 0.3, 100_000
CGROUPS = Path("/sys/fs/cgroup/cpu")
ONE, TWO = "one worker", "two workers"


class NoCpuLimits(Exception):
    """The CPU of a process cannot be limited on this machine."""


async def measure(options: BenchmarkOptions) -> Result:
    """Drain the same `options.size` events with one and with two workers.

    Raises:
        NoCpuLimits: cgroup v1 is missing, or this user may not use it.
    """
    size = options.size or EVENTS
    with TemporaryDirectory() as folder, open_kafka(Path(folder)) as broker:
        machine = describe_machine()
        ends = await produce_backlog(broker.address, PARTITIONS, size)

        def candidate(name: str, count: int) -> Candidate:
            async def run() -> Mapping[str, Figures]:
                figures = await _drain(broker.address, ends, count)
                await reset(broker.address, ["streams"], [MESSAGES])
                return {name: figures}

            return Candidate(name, run)

        trials = await alternate([candidate(ONE, 1), candidate(TWO, 2)], options)
    return Result(
        name="workers",
        machine=machine,
        conditions=[
            f"{size:,} postbacks, {PARTITIONS} partitions per topic; a worker has {SHARE:g} of a core",
            broker.name,
        ],
        trials=trials,
        targets=minimum_targets(
            {(f"{RATE} of two workers, ratio to one", 1.7): ratios(trials, RATE, TWO, ONE)}
        ),
    )


async def _drain(kafka: str, ends: Mapping[Any, int], count: int) -> Figures:
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(TemporaryDirectory())) for _ in range(count)]
        workers = [stack.enter_context(open_worker(kafka, PARTITIONS, folder)) for folder in folders]
        for worker in workers:
            await worker.wait_ready(READY_TIMEOUT)
        for worker in workers:
            stack.enter_context(_limit_cpu(worker.process.pid))
        drained = await measure_drain(kafka, "streams", ends, [worker.process.pid for worker in workers])
    assert min(drained.cpu) > max(drained.cpu) / 2, f"the work was not shared: {drained.cpu} CPU s"
    return {RATE: drained.rate, CPU: sum(drained.cpu_per_million)}


@contextmanager
def _limit_cpu(pid: int) -> Iterator[None]:
    group = CGROUPS / f"postbacks-{pid}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoCpuLimits(f"{CGROUPS}: {error.strerror}") from error
    try:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
        (group / "cpu.cfs_quota_us").write_text(str(round(SHARE * PERIOD_MICROSECONDS)))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        (CGROUPS / "cgroup.procs").write_text(str(pid))
        group.rmdir()
