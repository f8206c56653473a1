"""Growth: what an event costs while the table of messages grows, and what a start costs when it has grown.

Events are put into the topics in steps and drained; between the steps nothing is restarted. Then the worker
is started again with its store as it was, and once more with none, so that it recovers from the topic.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.correlation import CPU, PARTITIONS, RAM, RATE
from benchmarks.harness.backlog import end_offsets, fill, make_topics
from benchmarks.harness.drain import follow, steady
from benchmarks.harness.engines import kafka
from benchmarks.harness.events import events
from benchmarks.harness.machine import machine, now
from benchmarks.harness.result import Result, Target, Trial
from benchmarks.harness.trials import Plan
from benchmarks.harness.usage import memory_bytes
from benchmarks.harness.worker import worker
from gateway.postback import POSTBACK_TOPICS

TITLE = "Growth: the cost of an event while the table grows"
#: Of messages; an event is about 0.57 of one.
MESSAGES, MESSAGES_PER_EVENT = 10_000_000, 0.57
STEPS = 10


async def measure(plan: Plan) -> Result:
    """Grow to `plan.size` messages, in steps."""
    size = plan.size or MESSAGES
    step = int(size / MESSAGES_PER_EVENT / STEPS)
    trials: list[Trial] = []
    with TemporaryDirectory() as folder, kafka(Path(folder)) as broker:
        about, data = machine(), Path(folder) / "states"
        await make_topics(broker.address, PARTITIONS)
        source = events(1, datetime.now(UTC) - timedelta(hours=1))
        with worker(broker.address, PARTITIONS, data) as streams:
            for number in range(1, STEPS + 1):
                await fill(broker.address, PARTITIONS, islice(source, step))
                ends = await end_offsets(broker.address, POSTBACK_TOPICS)
                done = steady(await follow(broker.address, "streams", ends, [streams.pid]))
                figures = {
                    RATE: done.events / done.seconds,
                    CPU: done.cpu[0] / done.events * 1e6,
                    RAM: memory_bytes(streams.pid) / 2**20,
                }
                trials.append(Trial(f"up to {size * number / STEPS / 1e6:g} M messages", number, figures))
                print(f"  {trials[-1].contender}: {figures}", flush=True)
            streams.process.stop()
        warm = await _seconds_to_be_ready(broker.address, data)
        shutil.rmtree(data)
        cold = await _seconds_to_be_ready(broker.address, data)
    costs = [trial.figures[CPU] for trial in trials]
    most = max(trial.figures[RAM] for trial in trials)
    return Result(
        name="state_growth",
        title=TITLE,
        at=now(),
        machine=about,
        conditions=[f"{size:,} messages, {step * STEPS:,} postbacks in {STEPS} steps", broker.name],
        trials=trials,
        targets=[
            Target(
                "CPU per event in the second half of the steps, times that in the first",
                "at most",
                1.15,
                [mean(costs[STEPS // 2 :]) / mean(costs[: STEPS // 2])],
            ),
            Target("memory of the worker, MiB", "at most", 1024, [most]),
            Target("start with a warm store, s", "at most", 15, [warm]),
            Target(
                "recovery from the topic, s per million messages",
                "at most",
                20,
                [(cold - warm) / (size / 1e6)],
            ),
        ],
    )


async def _seconds_to_be_ready(kafka: str, data: Path) -> float:
    """From the start of a worker until nothing is missing."""
    began = monotonic()
    with worker(kafka, PARTITIONS, data) as streams:
        await streams.ready()
        seconds = monotonic() - began
        streams.process.stop()
        return seconds
