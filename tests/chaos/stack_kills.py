"""`postbacks up`, killed with all of its processes at once, again and again, while postbacks come in.

After the last round everything that got a 2xx must be in SQL once and in its message.
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
from datetime import timedelta
from pathlib import Path

import aiohttp

from simulator.run import Plan, simulate
from tests.chaos.checker import judge
from tests.chaos.cluster import Service, frozen_code
from tests.chaos.outcome import Posting
from tests.chaos.progress import wait_merged
from tests.chaos.scenario import Stage
from tests.support.kafka import free_ports

RATE = 500.0
#: Seconds between a start that is complete and the next kill.
SHORTEST, LONGEST = 1.0, 8.0
READY_SECONDS, DRAINED_SECONDS, POLL_SECONDS = 180.0, 180.0, 0.1
#: What `postbacks up` prints when all of its processes are ready.
READY = "Ready. The PostBackURL is"
#: Far beyond the run: nothing becomes overdue while it is checked.
OVERDUE_AFTER = timedelta(hours=72)


class Up:
    """A `postbacks up` on fixed ports and one folder, started and killed."""

    def __init__(self, folder: Path) -> None:
        ports = [str(port) for port in free_ports(3)]
        self.kafka, self.url = f"127.0.0.1:{ports[1]}", f"http://127.0.0.1:{ports[0]}/postback"
        self.clickhouse = f"http://default:@127.0.0.1:{ports[2]}/postbacks"
        self._log, self._logged = folder / "up.log", 0
        self._arguments = ["up", "--port", ports[0], "--kafka-port", ports[1], "--clickhouse-port", ports[2]]
        self._arguments += ["--data", str(folder / "data")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTBACKS_")}
        self._logged = len(self._log.read_text(errors="replace")) if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli", *self._arguments],
                cwd=frozen_code(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def complete(self) -> None:
        """Wait until every process of the stack is ready.

        Raises:
            TimeoutError: they are not, within the time that a loaded machine needs.
        """
        async with asyncio.timeout(READY_SECONDS):
            while True:
                if READY in self._log.read_text(errors="replace")[self._logged :]:
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def ready(self) -> None:
        """Wait until the gateway accepts postbacks.

        Raises:
            TimeoutError: it does not, within the time that a loaded machine needs.
        """
        health = self.url.removesuffix("/postback") + "/healthz"
        async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as http:
            while True:
                assert self._process
                assert self._process.poll() is None, f"it ended with {self._process.returncode}"
                try:
                    async with http.get(health) as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(POLL_SECONDS)

    def kill(self) -> int:
        """SIGKILL to every process of the stack at once; how many there were."""
        assert self._process
        victims = list(_with_descendants(self._process.pid))
        for pid in victims:
            os.kill(pid, signal.SIGSTOP)  # so that none acts on the end of another
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        return len(victims)

    async def stop(self) -> int:
        """SIGTERM, upon which it drains; its exit status."""
        assert self._process
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait)


async def kill_stack(stage: Stage, seed: int, rounds: int) -> None:
    """Kill everything so many times at random moments, under steady traffic; then check what is stored."""
    rng, up, posting = random.Random(seed), Up(stage.folder), Posting()
    up.start()
    await up.ready()
    async with _posting(up.url, seed, posting):
        for number in range(1, rounds + 1):
            await asyncio.sleep(rng.uniform(SHORTEST, LONGEST))
            killed, began = up.kill(), time.monotonic()
            up.start()
            await up.ready()
            took = time.monotonic() - began
            stage.show(f"round {number}: {killed} processes killed, accepting again after {took:.1f} s")
        await up.complete()
    acknowledged = len(posting.posted.acknowledged)
    stage.show(f"{acknowledged:,} postbacks accepted, longest time without a 2xx {posting.longest_gap:.1f} s")
    # A stop in good order drains: what waits on the gateway's disk is published by the next start.
    stage.require(await up.stop() == 0, "a stop in good order drains")
    up.start()
    await up.complete()
    for group in ("streams", "sinks"):
        left = await wait_merged(up.kafka, group, time.monotonic() + DRAINED_SECONDS)
        stage.require(left == 0, f"{group} commits everything, but {left} records are left")
    verdict = await judge(up.kafka, up.clickhouse, posting.posted, OVERDUE_AFTER, stage.say)
    for line in verdict.lines():
        stage.say(line)
    stage.require(verdict.good, f"nothing is lost, doubled or wrong: {next(verdict.lines(), '')}")
    settings = {"POSTBACKS_KAFKA": up.kafka, "POSTBACKS_CLICKHOUSE": up.clickhouse}
    reconcile = Service("reconcile", ["cli", "reconcile"], settings, stage.folder)
    reconcile.start()
    stage.require(await reconcile.ended() == 0, "reconcile exits with 0")
    stage.show(
        f"{verdict.records:,} records, {verdict.events:,} events, {verdict.messages:,} messages checked"
    )
    stage.require(await up.stop() == 0, "a stop in good order drains")


@asynccontextmanager
async def _posting(url: str, seed: int, posting: Posting) -> AsyncIterator[None]:
    """Post while the block runs, each postback until it gets a 2xx."""
    stop = asyncio.Event()
    plan = Plan(url=url, rate=RATE, seed=seed, tries=1_000, patience=10.0)
    task = asyncio.create_task(simulate(plan, stop, posting.note))
    try:
        yield
    finally:
        stop.set()
        posting.posted.statuses.update((await task).statuses)


def _with_descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield from _with_descendants(child)
