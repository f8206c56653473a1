"""Kills `postbacks up` with all its processes at once, repeatedly, under load.

After the last round every postback that got a 2xx must be in ClickHouse once, and in its message.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from simulator.run import Plan, simulate
from tests.chaos.checker import check
from tests.chaos.cluster import frozen_code, reconcile
from tests.chaos.fold import Limits
from tests.chaos.outcome import PostLog
from tests.chaos.progress import wait_committed
from tests.chaos.scenario import Stage
from tests.support.kafka import free_ports
from tests.support.process import environment

RATE = 500.0
#: Seconds between a start and the next kill.
MIN_UPTIME, MAX_UPTIME = 1.0, 8.0
READY_TIMEOUT, COMMITTED_TIMEOUT, POLL_INTERVAL = 180.0, 180.0, 0.1
#: Printed by `postbacks up` when all its processes are ready.
READY = "Ready. The PostBackURL is"


class RunningStack:
    """A `postbacks up` on fixed ports and one folder, which can be killed and restarted."""

    def __init__(self, folder: Path) -> None:
        ports = [str(port) for port in free_ports(3)]
        self.kafka, self.url = f"127.0.0.1:{ports[1]}", f"http://127.0.0.1:{ports[0]}/postback"
        self.clickhouse = f"http://default:@127.0.0.1:{ports[2]}/postbacks"
        self._log, self._log_offset = folder / "up.log", 0
        self._arguments = ["up", "--port", ports[0], "--kafka-port", ports[1], "--clickhouse-port", ports[2]]
        self._arguments += ["--data", str(folder / "data")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._log_offset = len(self._log.read_text(errors="replace")) if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli", *self._arguments],
                cwd=frozen_code(),
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def wait_ready(self) -> None:
        """Wait until all processes are ready.

        Raises:
            TimeoutError: they are not within `READY_TIMEOUT`.
        """
        async with asyncio.timeout(READY_TIMEOUT):
            while True:
                if READY in self._log.read_text(errors="replace")[self._log_offset :]:
                    return
                await asyncio.sleep(POLL_INTERVAL)

    async def wait_accepting(self) -> None:
        """Wait until the gateway accepts postbacks.

        Raises:
            TimeoutError: it does not within `READY_TIMEOUT`.
        """
        health = self.url.removesuffix("/postback") + "/healthz"
        async with asyncio.timeout(READY_TIMEOUT), aiohttp.ClientSession() as http:
            while True:
                assert self._process
                assert self._process.poll() is None, f"it exited with {self._process.returncode}"
                try:
                    async with http.get(health) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(POLL_INTERVAL)

    def kill(self) -> int:
        """Kill all processes of the stack at once; return their number."""
        assert self._process
        pids = list(_with_descendants(self._process.pid))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # so that none reacts to the exit of another
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        return len(pids)

    async def stop(self) -> int:
        """Shut down, which drains the pipeline; return the exit status."""
        assert self._process
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait)


async def kill_stack(stage: Stage, seed: int, rounds: int) -> None:
    """Kill everything `rounds` times at random moments, under steady load; then check what is stored."""
    rng, up, posts = random.Random(seed), RunningStack(stage.folder), PostLog()
    up.start()
    await up.wait_accepting()
    async with _post_continuously(up.url, seed, posts):
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
async def _post_continuously(url: str, seed: int, posts: PostLog) -> AsyncIterator[None]:
    """Post for the block, each postback until it gets a 2xx."""
    stop = asyncio.Event()
    plan = Plan(url=url, rate=RATE, seed=seed, max_attempts=1_000, timeout=10.0)
    task = asyncio.create_task(simulate(plan, stop, posts.record))
    try:
        yield
    finally:
        stop.set()
        await task


def _with_descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield from _with_descendants(child)
