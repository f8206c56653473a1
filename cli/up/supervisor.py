"""Keeps the services of a stack running: what ends by itself is started again.

What to do when everything runs, and in which order to stop, is decided in `cli/up/command.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cli.up.processes import ManagedProcess, Say
from cli.up.stack import Service
from runtime.errors import StartupError
from runtime.process import REFUSED
from runtime.restarts import next_pause

#: Seconds to end in good order.
GRACE = 30.0


class Supervisor:
    """Services by name. `given_up` gets the error when one cannot be kept running at all."""

    def __init__(self, environment: Mapping[str, str], say: Say) -> None:
        self._environment = environment
        self._say = say
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._children: dict[str, ManagedProcess] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._were_ready: set[str] = set()
        self.given_up: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def keep(self, *services: Service) -> None:
        """Start these services and keep them running until `stop`."""
        for service in services:
            self._ready.setdefault(service.name, asyncio.Event())
            task = self._tasks[service.name] = asyncio.create_task(self._keep(service))
            task.add_done_callback(self._on_end)

    def was_ready(self, name: str) -> bool:
        return name in self._were_ready

    async def ready(self) -> None:
        """Wait until every service that was started is."""
        while missing := [event for event in self._ready.values() if not event.is_set()]:
            await missing[0].wait()

    async def stop(self, name: str, grace: float = GRACE) -> None:
        """End it in good order (nothing when it does not run)."""
        if task := self._tasks.pop(name, None):
            task.cancel()
            if child := self._children.get(name):
                await child.end(grace)
            await asyncio.wait([task])

    @property
    def children(self) -> list[ManagedProcess]:
        """The processes that run now."""
        return [child for child in self._children.values() if child.status is None]

    def kill(self) -> None:
        """End every process at once."""
        for child in self.children:
            child.kill()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self.given_up.done():
            self.given_up.set_result(error)

    async def _keep(self, service: Service) -> None:
        pause = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            child = await ManagedProcess.start(service, self._environment, self._say)
            self._children[service.name] = child
            try:
                status = await self._live(child)
            finally:
                self._ready[service.name].clear()
                await child.end(GRACE)
            if status == REFUSED and not self.was_ready(service.name):
                raise StartupError(f"{service.name} cannot run like this; it says why above")
            pause = next_pause(pause, clock() - began)
            self._say(service.name, f"ended with status {status}; starts again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _live(self, child: ManagedProcess) -> int:
        """See a process through its life; its exit status."""
        name = child.service.name
        ended = asyncio.create_task(child.ended())
        ready = asyncio.create_task(child.ready())
        try:
            await asyncio.wait([ended, ready], return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and child.status is None:
                ready.result()
                self._were_ready.add(name)
                self._ready[name].set()
            return await asyncio.shield(ended)
        finally:
            ready.cancel()
