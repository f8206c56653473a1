"""Posting at a rate: the stories' packets over a few connections, each until it is acknowledged.

Whether the real provider retries is not documented. This one does, as its siblings do: the same packet again
after anything but a 2xx, and after silence. What no repetition can change (4xx but 408 and 429) it lets be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from simulator.connection import Broken, Connection, Target, connect
from simulator.ledger import Ledger
from simulator.postback import SimulatedPostback
from simulator.report import Report
from simulator.traffic import traffic

#: Called after every post: the packet, and the code of its answer (None: the connection broke or was silent).
Observer = Callable[[SimulatedPostback, int | None], None]
#: Called about once a second.
Progress = Callable[["Sending"], None]

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
#: A run that fell behind its rate catches up this much at once, and leaves the rest out.
CATCH_UP_SECONDS = 1.0
#: How much earlier than due a packet may go, so that not each one waits for a timer.
EARLY_SECONDS = 0.005
PROGRESS_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """What to post: `count` packets, or for `seconds`, whichever ends first; with neither, until stopped."""

    url: str
    #: Packets a second, at most.
    rate: float
    seed: int
    count: int | None = None
    seconds: float | None = None
    connections: int = 128
    #: Posts of a packet that is not acknowledged, the first included.
    tries: int = 100
    #: Seconds after which silence counts as no answer.
    patience: float = 15.0


@dataclass(frozen=True)
class Sending:
    """A run under way: seconds since its start, posts so far, distinct postbacks acknowledged so far."""

    seconds: float
    posts: int
    events: int


async def simulate(
    plan: Plan,
    stop: asyncio.Event,
    observe: Observer | None = None,
    progress: Progress | None = None,
) -> Report:
    """Post as planned, until the plan's end or `stop`; then finish what is in flight, and say what was sent.

    After `stop` nothing is retried. The callbacks run on the event loop and must be quick.

    Raises:
        ValueError: the URL is none to post to.
    """
    run = _Run(plan, stop, observe)
    ticks = asyncio.create_task(run.tell(progress)) if progress else None
    try:
        await run.post_all()
    finally:
        if ticks:
            ticks.cancel()
    return run.ledger.report(run.seconds)


class _Run:
    def __init__(self, plan: Plan, stop: asyncio.Event, observe: Observer | None) -> None:
        self._plan = plan
        self._target = Target(plan.url)
        self._stop = stop
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._due: asyncio.Queue[SimulatedPostback | None] = asyncio.Queue(plan.connections)
        self.ledger = Ledger()

    @property
    def seconds(self) -> float:
        return self._loop.time() - self._began

    async def tell(self, progress: Progress) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            progress(Sending(self.seconds, self.ledger.posts, self.ledger.acknowledged.total()))

    async def post_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._plan.connections):
                tasks.create_task(self._post_each())
            tasks.create_task(self._feed())

    def _packets(self) -> Iterator[SimulatedPostback]:
        began, rate = datetime.now(UTC), self._plan.rate
        packets = traffic(
            self._plan.seed,
            open_stories=max(5, min(5_000, int(rate))),
            clock=lambda number: began + timedelta(seconds=number / rate),
        )
        return islice(packets, self._plan.count)

    async def _feed(self) -> None:
        began = self._loop.time()
        for number, packet in enumerate(self._packets()):
            ahead = began + number / self._plan.rate - self._loop.time()
            if ahead > EARLY_SECONDS:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), ahead)
            elif ahead < -CATCH_UP_SECONDS:
                began -= ahead + CATCH_UP_SECONDS
            if self._stop.is_set() or (self._plan.seconds and self.seconds >= self._plan.seconds):
                break
            await self._due.put(packet)
        for _ in range(self._plan.connections):
            await self._due.put(None)

    async def _post_each(self) -> None:
        connection: Connection | None = None
        while packet := await self._due.get():
            connection = await self._post(packet, connection)
        if connection:
            connection.close()

    async def _post(self, packet: SimulatedPostback, connection: Connection | None) -> Connection | None:
        """Until it is acknowledged, or will not be; returns the connection to use next."""
        pause = FIRST_PAUSE
        for _ in range(self._plan.tries):
            if self._stop.is_set():
                break
            status: int | None = None
            try:
                async with asyncio.timeout(self._plan.patience):
                    if not (connection and connection.usable):
                        connection = await connect(self._target)
                    status = await connection.post(packet.body)
            except (OSError, Broken, TimeoutError):
                if connection:
                    connection.close()
            self.ledger.enter(packet, status)
            if self._observe:
                self._observe(packet, status)
            if status and (status < 300 or (400 <= status < 500 and status not in (408, 429))):
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        return connection
