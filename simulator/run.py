"""Posts simulated traffic at a rate, and retries each postback until it is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from runtime.process import wait_up_to
from simulator.connection import Connection, Target
from simulator.customer import Customer
from simulator.ledger import Ledger
from simulator.postback import SimulatedPostback
from simulator.poster import MAX_ATTEMPTS, TIMEOUT, Observer, Poster
from simulator.report import Report
from simulator.scenario import DEFAULT_CUSTOMER
from simulator.traffic import traffic

#: Called about once per second.
OnProgress = Callable[["RunProgress"], None]

#: A run that is behind its rate catches up at most this much, and skips the rest.
MAX_CATCH_UP_SECONDS = 1.0
#: A postback may be sent this much before it is due, so that not each one needs a timer.
EARLY_SECONDS = 0.005
PROGRESS_INTERVAL = 1.0


@dataclass(frozen=True)
class Plan:
    """What to post: `count` postbacks or for `seconds`, whichever ends first; with neither, until stopped."""

    url: str
    #: Maximum postbacks per second, not counting retries.
    rate: float
    seed: int
    count: int | None = None
    seconds: float | None = None
    connections: int = 128
    max_attempts: int = MAX_ATTEMPTS
    timeout: float = TIMEOUT
    customer: Customer = DEFAULT_CUSTOMER


@dataclass(frozen=True)
class RunProgress:
    """Progress of a run: seconds since its start, posts, distinct postbacks acknowledged."""

    seconds: float
    posts: int
    events: int


async def simulate(
    plan: Plan,
    stop: asyncio.Event,
    observe: Observer | None = None,
    progress: OnProgress | None = None,
) -> Report:
    """Run the plan to its end or until `stop` is set, then complete posts in flight and return the report.

    After `stop` nothing is retried. The callbacks run on the event loop and must not block.

    Raises:
        ValueError: the URL is invalid.
    """
    run = _Run(plan, stop, observe)
    reporter = asyncio.create_task(run.report_progress(progress)) if progress else None
    try:
        await run.post_all()
        return run.ledger.report(run.seconds)
    finally:
        run.ledger.close()
        if reporter:
            reporter.cancel()


def postbacks_of(plan: Plan, started: datetime) -> Iterator[SimulatedPostback]:
    """The postbacks of a run that starts then, in order; without a count, without end."""
    postbacks = traffic(
        plan.seed,
        concurrency=max(5, min(5_000, int(plan.rate))),
        clock=lambda number: started + timedelta(seconds=number / plan.rate),
        customer=plan.customer,
    )
    return islice(postbacks, plan.count)


class _Run:
    def __init__(self, plan: Plan, stop: asyncio.Event, observe: Observer | None) -> None:
        self._plan = plan
        self._target = Target(plan.url)
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._queue: asyncio.Queue[SimulatedPostback | None] = asyncio.Queue(plan.connections)
        self.ledger = Ledger()
        self._poster = Poster(self.ledger, stop, observe, plan.max_attempts, plan.timeout)

    @property
    def seconds(self) -> float:
        return self._loop.time() - self._started

    async def report_progress(self, progress: OnProgress) -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL)
            progress(RunProgress(self.seconds, self.ledger.posts, self.ledger.acknowledged.total()))

    async def post_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._plan.connections):
                tasks.create_task(self._post_from_queue())
            tasks.create_task(self._feed())

    async def _feed(self) -> None:
        started = self._loop.time()
        for number, postback in enumerate(postbacks_of(self._plan, datetime.now(UTC))):
            wait = started + number / self._plan.rate - self._loop.time()
            if wait > EARLY_SECONDS:
                await wait_up_to(wait, self._stop)
            elif wait < -MAX_CATCH_UP_SECONDS:
                started -= wait + MAX_CATCH_UP_SECONDS
            if self._stop.is_set() or (self._plan.seconds and self.seconds >= self._plan.seconds):
                break
            await self._queue.put(postback)
        for _ in range(self._plan.connections):
            await self._queue.put(None)

    async def _post_from_queue(self) -> None:
        connection: Connection | None = None
        while postback := await self._queue.get():
            if self._stop.is_set():
                continue
            connection = await self._poster.post(self._target, postback, connection)
        if connection:
            connection.close()
