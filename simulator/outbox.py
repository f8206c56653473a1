"""Postbacks that are due at a time, posted by a bounded number of workers."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from runtime.process import wait_up_to
from simulator.connection import Connection, Target
from simulator.postback import SimulatedPostback
from simulator.poster import Poster

CONNECTIONS = 64


class _Entry(NamedTuple):
    """Ordered by the time when it is due, then by number."""

    due: float
    number: int
    not_before: float
    target: Target
    postback: SimulatedPostback


class Outbox:
    """Posts what is put into it, while `run` runs. Not bounded: callers check its length."""

    def __init__(self, poster: Poster, stop: asyncio.Event) -> None:
        self._poster = poster
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._entries: list[_Entry] = []
        self._numbers = count()
        self._changed = asyncio.Event()
        self._queue: asyncio.Queue[_Entry | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[tuple[Target, Connection]] = []

    def __len__(self) -> int:
        """Postbacks that no worker has yet."""
        return len(self._entries)

    def put(self, target: Target, postback: SimulatedPostback, due: float, not_before: float) -> None:
        """Add a postback.

        Args:
            due: when to post it, by the clock of the event loop.
            not_before: when it may be posted at the earliest, as the run is stopped.
        """
        heappush(self._entries, _Entry(due, next(self._numbers), not_before, target, postback))
        self._changed.set()

    async def run(self) -> None:
        """Post until `stop` is set, then post what is left at once, each of it once."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(self._work())
            feeder = tasks.create_task(self._feed())
            await self._stop.wait()
            feeder.cancel()
            await self._feed_rest()
            for _ in range(CONNECTIONS):
                self._queue.put_nowait(None)
        for _, connection in self._idle:
            connection.close()

    async def _feed(self) -> None:
        while True:
            self._changed.clear()
            if not self._entries:
                await self._changed.wait()
            elif (wait := self._entries[0].due - self._loop.time()) > 0:
                await wait_up_to(wait, self._changed)
            else:
                await self._room.acquire()
                self._queue.put_nowait(heappop(self._entries))

    async def _feed_rest(self) -> None:
        now = self._loop.time()
        rest, self._entries = sorted(self._entries), []
        for entry in rest:
            if entry.not_before > now:
                heappush(self._entries, entry)
            else:
                await self._room.acquire()
                self._queue.put_nowait(entry)

    async def _work(self) -> None:
        while entry := await self._queue.get():
            self._room.release()
            connection = await self._poster.post(entry.target, entry.postback, self._take(entry.target))
            if connection and connection.usable:
                self._keep(entry.target, connection)

    def _take(self, target: Target) -> Connection | None:
        for number, (other, connection) in enumerate(self._idle):
            if other == target:
                del self._idle[number]
                return connection
        return None

    def _keep(self, target: Target, connection: Connection) -> None:
        self._idle.append((target, connection))
        if len(self._idle) > CONNECTIONS:
            _, oldest = self._idle.pop(0)
            oldest.close()
