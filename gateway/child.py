"""One of several gateway processes, through all its lives, and what it agrees on with the parent.

It is `python -m gateway` as ever, but for its argument (`ONE`): its port may be shared, it prints where its
ops port is, too, and it lives as long as its standard input is open. Closing that is how the parent asks it
to end, and the system does the same when the parent is killed. It is not asked by a signal: systemd and
terminals send theirs to all processes, and a second one would cut off what is in hand.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress

import aiohttp
import structlog

from runtime.errors import StartupError
from runtime.multiprocess_metrics import MultiprocessCollector
from runtime.process import REFUSED, force_exit_after
from runtime.restarts import next_pause

#: The argument of one of several.
WORKER_FLAG = "one-of-several"
#: Seconds until one that was told to end is killed; longer than it gives itself.
KILL_TIMEOUT = 19.5
NOT_OPEN = "not open yet"

log = structlog.get_logger(__name__)


def exit_with_parent(end: asyncio.Event, seconds: float) -> None:
    """In one of several: set `end` when standard input is closed, and end within so many seconds.

    A thread waits for it, so that not even one whose event loop hangs outlives the parent by much.
    """
    loop = asyncio.get_running_loop()

    def wait() -> None:
        os.read(0, 1)
        force_exit_after(seconds, None)
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(end.set)

    threading.Thread(target=wait, name="parent", daemon=True).start()


class Child:
    """One of the processes, in the parent."""

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        together: MultiprocessCollector,
        opened: asyncio.Event,
    ) -> None:
        """
        Args:
            opened: is set when its port is open.
        """
        self.name = name
        self._environment = {**environment, **together.environment(name)}
        self._together = together
        self._opened = opened
        self._was_open = False
        self._pid: int | None = None
        #: Why its port is not open, and while it is: `host:port` of its ops port.
        self._closed, self._ops = NOT_OPEN, ""

    async def keep(self, stop: asyncio.Event) -> None:
        """Run it, again whenever it ends, until `stop` is set and it has ended.

        Raises:
            Refused: its settings or topics do not allow it.
            TimeoutError: it was told to end, did not, and was killed.
        """
        pause, clock = 0.0, asyncio.get_running_loop().time
        while not stop.is_set():
            began = clock()
            status = await self._live(stop)
            if stop.is_set():
                return
            if status == REFUSED and not self._was_open:
                raise StartupError("A gateway process cannot run like this; it says why above")
            pause = next_pause(pause, clock() - began)
            self._closed = f"ended with status {status}; starts again in {pause:g} s"
            log.error("A gateway process ended", process=self.name, status=status, starts_again_in=pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def lacks(self, session: aiohttp.ClientSession) -> str:
        """What it lacks to do its work, in words; empty when it does."""
        if self._closed:
            return self._closed
        try:
            async with session.get(f"http://{self._ops}/readyz") as answer:
                return "" if answer.status == 200 else (await answer.text()).strip().replace("\n", "; ")
        except (aiohttp.ClientError, TimeoutError):
            return self._closed or "does not answer"

    def hang_up(self) -> None:
        """Let it read tokens and certificates again; one that is not open yet is about to."""
        if self._pid and not self._closed:
            os.kill(self._pid, signal.SIGHUP)

    async def _live(self, stop: asyncio.Event) -> int:
        """One life; its exit status, negative for a signal."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a folder of such a name where people are is not meant
            "-m",
            "gateway",
            WORKER_FLAG,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        self._pid = self._together.pids[self.name] = process.pid
        self._closed = NOT_OPEN
        listening = asyncio.create_task(self._listen(process.stdout))
        stopped = asyncio.create_task(stop.wait())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait([stopped, ended], return_when=asyncio.FIRST_COMPLETED)
            process.stdin.close()
            async with asyncio.timeout(KILL_TIMEOUT):
                return await asyncio.shield(ended)
        except TimeoutError:
            log.error("A gateway process does not end; killed", process=self.name)
            process.kill()
            await ended
            raise
        finally:
            self._pid, self._closed = None, "ended"
            self._together.lost(self.name)
            listening.cancel()
            stopped.cancel()

    async def _listen(self, output: asyncio.StreamReader) -> None:
        """It prints one line, when it is open."""
        if line := await output.readline():
            _, self._ops = line.decode().split()
            self._closed = ""
            self._was_open = True
            self._opened.set()
        while await output.read(65_536):
            pass
