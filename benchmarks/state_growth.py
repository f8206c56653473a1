"""State growth: the cost per event as the table of messages grows, and of a start once it has grown.

Events are produced in steps and drained, without a restart between the steps. Then the worker is restarted
with its store, and once more without, so that it restores all states from the topic.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.correlation import CPU, PARTITIONS, RAM, measure_process
from benchmarks.harness.backlog import end_offsets, produce
from benchmarks.harness.engines import open_kafka
from benchmarks.harness.events import generate_events
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.result import Result, Target, Trial
from benchmarks.harness.trials import BenchmarkOptions
from benchmarks.harness.worker import READY_TIMEOUT, open_worker
from gateway.postback import POSTBACK_TOPICS
from tests.support.kafka import create_topics

TITLE = "State growth: the cost per event as the table grows"
MESSAGES, MESSAGES_PER_EVENT = 10_000_000, 0.57
STEPS = 10


async def measure(options: BenchmarkOptions) -> Result:
    """Grow the table to `options.size` messages, then restart."""
    size = options.size or MESSAGES
    step = int(size / MESSAGES_PER_EVENT / STEPS)
    trials: list[Trial] = []
    with TemporaryDirectory() as folder, open_kafka(Path(folder)) as broker:
        machine, data = describe_machine(), Path(folder) / "states"
        await create_topics(broker.address, PARTITIONS)
        source = generate_events(1, datetime.now(UTC) - timedelta(hours=1))
        with open_worker(broker.address, PARTITIONS, data) as worker:
            for number in range(1, STEPS + 1):
                await produce(broker.address, PARTITIONS, islice(source, step))
                ends = await end_offsets(broker.address, POSTBACK_TOPICS)
                figures = await measure_process(broker.address, "streams", ends, worker.process.pid)
                name = f"up to {size * number / STEPS / 1e6:g} M messages"
                trials.append(Trial(name, number, dict(figures)))
                print(f"  {trials[-1].candidate}: {figures}", flush=True)
            worker.process.stop()
        warm = await _seconds_to_ready(broker.address, data)
        shutil.rmtree(data)
        cold = await _seconds_to_ready(broker.address, data)
    costs = [trial.figures[CPU] for trial in trials]
    max_memory = max(trial.figures[RAM] for trial in trials)
    return Result(
        name="state_growth",
        machine=machine,
        conditions=[f"{size:,} messages, {step * STEPS:,} postbacks in {STEPS} steps", broker.name],
        trials=trials,
        targets=[
            Target(
                "CPU per event in the second half of the steps, ratio to the first half",
                "at most",
                1.15,
                [mean(costs[STEPS // 2 :]) / mean(costs[: STEPS // 2])],
            ),
            Target("memory of the worker, MiB", "at most", 1024, [max_memory]),
            Target("start with a warm store, s", "at most", 15, [warm]),
            Target(
                "restore from the topic, s per million messages",
                "at most",
                20,
                [(cold - warm) / (size / 1e6)],
            ),
        ],
    )


async def _seconds_to_ready(kafka: str, data: Path) -> float:
    """Start a worker, and return the seconds until it is ready."""
    began = monotonic()
    with open_worker(kafka, PARTITIONS, data) as worker:
        await worker.wait_ready(READY_TIMEOUT)
        seconds = monotonic() - began
        worker.process.stop()
        return seconds
