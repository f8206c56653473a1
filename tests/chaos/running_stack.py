"""A `postbacks up` that is killed and restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from dotenv import dotenv_values

from cli.up.stack_file import FILE
from tests.chaos.cluster import frozen_code
from tests.support.kafka import free_ports
from tests.support.process import child_processes, environment

READY_TIMEOUT, POLL_INTERVAL = 180.0, 0.1
#: Printed by `postbacks up` when all its processes are ready.
READY = "Ready. The PostBackURL is"


class RunningStack:
    """A `postbacks up` on fixed ports and one folder, which can be killed and restarted."""

    def __init__(self, folder: Path, *options: str, **settings: object) -> None:
        """
        Args:
            options: of `postbacks up`, beside ports and folder.
            settings: of all its processes, by their names in lower case.
        """
        ports = [str(port) for port in free_ports(3)]
        self.kafka, self.url = f"127.0.0.1:{ports[1]}", f"http://127.0.0.1:{ports[0]}/postback"
        self.clickhouse = f"http://default:@127.0.0.1:{ports[2]}/postbacks"
        self._log, self._log_offset = folder / "up.log", 0
        self._arguments = ["up", "--port", ports[0], "--kafka-port", ports[1], "--clickhouse-port", ports[2]]
        self.data = folder / "data"
        self._arguments += ["--data", str(self.data), *options]
        self._environment = environment(**settings)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def read_token(self) -> str:
        """The read token that the stack has created, once it is ready."""
        return dotenv_values(self.data / FILE)["POSTBACKS_READ_TOKEN"] or ""

    def start(self) -> None:
        self._log_offset = len(self._log.read_text(errors="replace")) if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli", *self._arguments],
                cwd=frozen_code(),
                env=self._environment,
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

    def kill_service(self, name: str) -> None:
        """Kill one of its services, with all processes of it; it is started again."""
        assert self._process
        (pid,) = (child for child in child_processes(self._process.pid) if _module_of(child) == name)
        for process in [*_with_descendants(pid)]:
            os.kill(process, signal.SIGKILL)

    def freeze(self, module: str, word: str) -> None:
        """Suspend the service that runs a module with this word among its arguments."""
        self._signal(signal.SIGSTOP, module, word)

    def resume(self, module: str, word: str) -> None:
        """Let a suspended service go on."""
        self._signal(signal.SIGCONT, module, word)

    def _signal(self, number: signal.Signals, module: str, word: str) -> None:
        assert self._process
        (pid,) = (
            child
            for child in child_processes(self._process.pid)
            if _module_of(child) == module and word in _words_of(child)
        )
        os.kill(pid, number)

    async def stop(self) -> int:
        """Shut down, which drains the pipeline; return the exit status."""
        assert self._process
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait)


def _module_of(pid: int) -> str:
    """The module that a process runs; empty while it is being started."""
    words = _words_of(pid)
    return words[words.index("-m") + 1] if "-m" in words else ""


def _words_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _with_descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            yield from _with_descendants(child)
