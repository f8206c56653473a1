"""Supervises processes: starts them, polls their readiness, restarts those that exit, and stops them.

For the stack of `postbacks up` and the processes of one gateway. Each runs in a session of its own: a Ctrl-C
in the terminal reaches the supervisor only, which stops them in its order. On Linux none outlives the
supervisor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from runtime.errors import StartupError
from runtime.health import unready_reason
from runtime.process import REFUSED, exit_with_parent, first_completed

#: Seconds before a restart, doubled each time. A process that ran for `STABLE_AFTER`, which is longer than it
#: takes to stall again after each start, has recovered.
MIN_BACKOFF, MAX_BACKOFF, STABLE_AFTER = 0.5, 30.0, 600.0
#: The longest before a restart of the gateway: the provider may not repeat what it cannot post meanwhile.
GATEWAY_BACKOFF = 4.0
#: Seconds between polls of /readyz, for one poll, and between reports of what is missing.
POLL_INTERVAL, POLL_TIMEOUT, REPORT_INTERVAL = 0.1, 5.0, 10.0
STOP_TIMEOUT = 30.0

#: Takes the name of a service and a line about it.
Report = Callable[[str, str], None]


@dataclass(frozen=True)
class Service:
    """A process to run: `python -m arguments…`, with `environment` on top of the supervisor's."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    #: `host:port` of its /readyz. None: it is ready when it has printed a line.
    ops: str | None = None
    #: Where standard error goes. None: to the supervisor's own.
    stderr: int | None = asyncio.subprocess.PIPE
    #: What it gets when the supervisor dies (Linux).
    death_signal: signal.Signals = signal.SIGKILL
    #: Seconds before a restart, at most.
    max_backoff: float = MAX_BACKOFF


class ManagedProcess:
    """A running process of a service."""

    def __init__(self, service: Service, process: asyncio.subprocess.Process, on_line: Report) -> None:
        self.pid = process.pid
        self._service = service
        self._process = process
        self._on_line = on_line
        self._printed = asyncio.Event()
        streams = [stream for stream in (process.stdout, process.stderr) if stream]
        self._readers = [asyncio.create_task(self._read(stream)) for stream in streams]

    @classmethod
    async def start(cls, service: Service, environment: Mapping[str, str], on_line: Report) -> ManagedProcess:
        """Start it; `on_line` gets each line that it writes."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # ignore a folder called `gateway` in the current directory
            "-m",
            *service.arguments,
            env={**environment, **service.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=service.stderr,
            start_new_session=True,
            preexec_fn=exit_with_parent(service.death_signal),
        )
        return cls(service, process, on_line)

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def wait_ready(self) -> None:
        """Return when it is ready; reports from time to time what is missing."""
        if self._service.ops is None:
            await self._printed.wait()
            return
        clock = asyncio.get_running_loop().time
        report_at = clock() + REPORT_INTERVAL
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=POLL_TIMEOUT)) as session:
            while reason := await unready_reason(session, self._service.ops):
                if clock() >= report_at:
                    self._on_line(self._service.name, f"not ready yet: {reason}")
                    report_at += REPORT_INTERVAL
                await asyncio.sleep(POLL_INTERVAL)

    async def wait(self) -> int:
        """Wait until it has exited and its last line is read; its exit status, negative for a signal."""
        status = await self._process.wait()
        await asyncio.shield(asyncio.gather(*self._readers))
        return status

    async def terminate(self, timeout: float) -> bool:
        """SIGTERM, and after `timeout` seconds SIGKILL; whether the first sufficed."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(timeout):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            return False
        finally:
            await self.wait()
        return True

    def kill(self) -> None:
        """SIGKILL to it and to all that it started."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await stream.read(65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._on_line(self._service.name, line.decode(errors="replace"))
            if lines and stream is self._process.stdout:
                self._printed.set()
        if rest:
            self._on_line(self._service.name, rest.decode(errors="replace"))


class Supervisor:
    """Keeps services running, by name."""

    def __init__(
        self,
        environment: Mapping[str, str],
        on_line: Report,
        on_exit: Report,
        stop_timeout: float = STOP_TIMEOUT,
    ) -> None:
        """
        Args:
            on_line: gets each line of a process's output, and what a process is not ready for.
            on_exit: gets how a process exited that was not stopped, or was killed when it should stop.
            stop_timeout: seconds from SIGTERM to SIGKILL.
        """
        self._environment = environment
        self._on_line = on_line
        self._on_exit = on_exit
        self._stop_timeout = stop_timeout
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, ManagedProcess] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._ever_ready: set[str] = set()
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    @property
    def pids(self) -> dict[str, int]:
        """The ids of the processes that run now."""
        return {name: process.pid for name, process in self._processes.items() if process.is_alive}

    def start(self, *services: Service) -> None:
        """Start the services and keep them running until they are stopped."""
        for service in services:
            self._ready[service.name] = asyncio.Event()
            task = self._tasks[service.name] = asyncio.create_task(self._supervise(service))
            task.add_done_callback(self._on_done)

    async def wait_ready(self) -> None:
        """Return when every service that was started is ready."""
        while unready := [event for event in self._ready.values() if not event.is_set()]:
            await unready[0].wait()

    def was_ready(self, name: str) -> bool:
        """Whether the service is or was ready."""
        return name in self._ever_ready

    async def wait_failed(self) -> None:
        """Raise the error of a service that cannot be kept running, e.g. that refuses its settings."""
        raise await asyncio.shield(self._failure)

    async def stop(self, name: str) -> bool:
        """Stop a service, if it runs; False when its process had to be killed."""
        if task := self._tasks.pop(name, None):
            task.cancel()
            await asyncio.wait([task])
            process = self._processes.get(name)
            if process and not await process.terminate(self._stop_timeout):
                self._on_exit(name, f"did not exit within {self._stop_timeout:g} s; killed")
                return False
        return True

    async def stop_all(self) -> bool:
        """Stop all services at the same time; False when a process had to be killed."""
        return all(await asyncio.gather(*map(self.stop, list(self._tasks))))

    def kill(self) -> None:
        """Kill every process at once."""
        for process in self._processes.values():
            process.kill()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_result(error)

    async def _supervise(self, service: Service) -> None:
        backoff, clock = 0.0, asyncio.get_running_loop().time
        while True:
            started_at = clock()
            process = await ManagedProcess.start(service, self._environment, self._on_line)
            self._processes[service.name] = process
            status = await self._run_once(service.name, process)
            if status == REFUSED and not self.was_ready(service.name):
                raise StartupError(f"Process {service.name} cannot run like this; the reason is above")
            backoff = next_backoff(backoff, clock() - started_at, service.max_backoff)
            self._on_exit(service.name, f"exited with status {status}; restarting in {backoff:g} s")
            await asyncio.sleep(backoff)

    async def _run_once(self, name: str, process: ManagedProcess) -> int:
        """Wait until the process exits; its exit status."""
        try:
            await first_completed(process.wait(), process.wait_ready())
            if process.is_alive:
                self._ever_ready.add(name)
                self._ready[name].set()
            return await process.wait()
        finally:
            self._ready[name].clear()


def next_backoff(last: float, uptime: float, limit: float = MAX_BACKOFF) -> float:
    """Seconds to wait before a process is restarted that ran for `uptime` seconds. Pure."""
    return MIN_BACKOFF if uptime >= STABLE_AFTER or not last else min(2 * last, limit)
