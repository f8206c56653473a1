"""Kills `postbacks up` with all its processes at once, repeatedly, under load.

After the last round every postback that got a 2xx must be in ClickHouse once, and in its message.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simulator.run import Plan, simulate
from tests.chaos.checker import check
from tests.chaos.cluster import reconcile
from tests.chaos.fold import Limits
from tests.chaos.outcome import PostLog
from tests.chaos.progress import wait_committed
from tests.chaos.running_stack import RunningStack
from tests.chaos.scenario import SESSION_TIMEOUT, Stage

RATE = 500.0
#: Seconds between a start and the next kill.
MIN_UPTIME, MAX_UPTIME = 1.0, 8.0
COMMITTED_TIMEOUT = 180.0


async def kill_stack(stage: Stage, seed: int, rounds: int, rate: float = RATE) -> None:
    """Kill everything `rounds` times at random moments, under steady load; then check what is stored."""
    rng, posts = random.Random(seed), PostLog()
    up = RunningStack(stage.folder, session_timeout=SESSION_TIMEOUT)
    up.start()
    await up.wait_accepting()
    async with _post_continuously(up.url, seed, rate, posts):
        for number in range(1, rounds + 1):
            await asyncio.sleep(rng.uniform(MIN_UPTIME, MAX_UPTIME))
            killed, began = up.kill(), time.monotonic()
            up.start()
            await up.wait_accepting()
            took = time.monotonic() - began
            stage.show(f"round {number}: {killed} processes killed, accepting again after {took:.1f} s")
        await up.wait_ready()
    acknowledged = len(posts.posted.postbacks.acknowledged)
    stage.show(
        f"{acknowledged:,} postbacks acknowledged, longest time without a 2xx {posts.longest_gap:.1f} s"
    )
    # A clean shutdown drains. What is left in the spool is published after the next start.
    stage.require(await up.stop() == 0, "a clean shutdown drains")
    up.start()
    await up.wait_ready()
    for group in ("streams", "sinks"):
        lag = await wait_committed(up.kafka, group, time.monotonic() + COMMITTED_TIMEOUT)
        stage.require(lag == 0, f"{group} commits everything, but has a lag of {lag} records")
    result = await check(up.kafka, up.clickhouse, posts.posted, Limits(), stage.log)
    for line in result.lines():
        stage.log(line)
    stage.require(result.passed, f"nothing is lost, duplicated or wrong: {next(result.lines(), '')}")
    stage.require(await reconcile(up.kafka, up.clickhouse, stage.folder) == 0, "reconcile exits with 0")
    stage.show(f"{result.records:,} records, {result.events:,} events, {result.messages:,} messages checked")
    stage.require(await up.stop() == 0, "a clean shutdown drains")


@asynccontextmanager
async def _post_continuously(url: str, seed: int, rate: float, posts: PostLog) -> AsyncIterator[None]:
    """Post for the block, each postback until it gets a 2xx."""
    stop = asyncio.Event()
    plan = Plan(url=url, rate=rate, seed=seed, max_attempts=1_000, timeout=10.0)
    task = asyncio.create_task(simulate(plan, stop, posts.record))
    try:
        yield
    finally:
        stop.set()
        await task
