"""One child process: started, its lines handed on, known when it is ready and when it has ended, and ended.

It gets no Ctrl-C of the terminal (a session of its own) and on Linux does not outlive its parent, however
that ends. When to start one again is decided in `cli/up/supervisor.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

import aiohttp

from cli.up.stack import Service
from runtime.process import exit_with_thread

#: How often /readyz is asked, and after how long somebody should be told what is missing; seconds.
ASK, TELL = 0.1, 10.0

Say = Callable[[str, str], None]


class ManagedProcess:
    """A running process of a service; made by `start`."""

    def __init__(self, service: Service, process: asyncio.subprocess.Process, say: Say) -> None:
        self.service = service
        self._process = process
        self._say = say
        self._printed = asyncio.Event()
        self._readers = [
            asyncio.create_task(self._hand_on(stream))
            for stream in (process.stdout, process.stderr)
            if stream
        ]

    @classmethod
    async def start(cls, service: Service, environment: Mapping[str, str], say: Say) -> ManagedProcess:
        """Start it; `say(name, line)` gets each line that it writes."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a folder of such a name where people are is not meant
            "-m",
            *service.arguments,
            env={**environment, **service.settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=exit_with_thread(os.getpid()) if sys.platform == "linux" else None,
        )
        return cls(service, process, say)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status (negative: the signal that ended it); None while it runs."""
        return self._process.returncode

    async def ready(self) -> None:
        """Return when it does its work; says from time to time what it still lacks."""
        if self.service.ops is None:
            await self._printed.wait()
            return
        loop = asyncio.get_running_loop()
        tell = loop.time() + TELL
        async with aiohttp.ClientSession() as session:
            while missing := await _missing(session, self.service.ops):
                if loop.time() >= tell:
                    self._say(self.service.name, f"not ready yet: {missing}")
                    tell += TELL
                await asyncio.sleep(ASK)

    async def ended(self) -> int:
        """Wait for its end and its last line; its exit status."""
        status = await self._process.wait()
        await asyncio.gather(*self._readers)
        return status

    async def end(self, grace: float) -> None:
        """SIGTERM, and SIGKILL to its whole session after `grace` seconds; nothing when it has ended."""
        if self.status is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(grace):
                    await self._process.wait()
            except TimeoutError:
                self._say(self.service.name, f"did not end within {grace:g} s; killed")
                self.kill()
        await self.ended()

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _hand_on(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await stream.read(65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._say(self.service.name, line.decode(errors="replace"))
            if lines and stream is self._process.stdout:
                self._printed.set()
        if rest:
            self._say(self.service.name, rest.decode(errors="replace"))


async def _missing(session: aiohttp.ClientSession, ops: str) -> str:
    """What /readyz names as missing; empty when it is ready."""
    try:
        async with session.get(f"http://{ops}/readyz", timeout=aiohttp.ClientTimeout(total=5)) as answer:
            return "" if answer.status == 200 else (await answer.text()).strip().replace("\n", "; ")
    except (aiohttp.ClientError, TimeoutError):
        return f"no answer on {ops}"
