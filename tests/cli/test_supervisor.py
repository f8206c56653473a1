"""Processes that are kept running: what ends is started again, what must not run is given up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cli.up.stack import Service
from cli.up.supervisor import Supervisor
from tests.support.process import ROOT

#: A server of the standard library: it prints a line when it listens, and its end is up to others.
SERVER = ("http.server", "0", "--bind", "127.0.0.1")
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}
SECONDS = 60.0


def run(code: str) -> tuple[str, ...]:
    """Arguments with which `python -m` runs this code."""
    return ("timeit", "-n", "1", "-r", "1", code)


class Lines:
    """What was said, and an event for each new line."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self._new = asyncio.Event()

    def __call__(self, name: str, line: str) -> None:
        self.said.append((name, line))
        self._new.set()

    async def until(self, name: str, text: str, times: int = 1) -> None:
        async with asyncio.timeout(SECONDS):
            while sum(who == name and text in line for who, line in self.said) < times:
                self._new.clear()
                await self._new.wait()


@asynccontextmanager
async def supervised(*services: Service) -> AsyncIterator[tuple[Supervisor, Lines]]:
    lines = Lines()
    supervisor = Supervisor(ENVIRONMENT, lines)
    supervisor.keep(*services)
    try:
        yield supervisor, lines
    finally:
        for service in services:
            await supervisor.stop(service.name, 10)


async def test_a_process_that_is_killed_is_started_again() -> None:
    async with supervised(Service("server", SERVER)) as (supervisor, lines):
        await supervisor.ready()
        (pid,) = [child.pid for child in supervisor.children]
        os.kill(pid, signal.SIGKILL)
        await lines.until("server", "ended with status -9; starts again in 0.5 s")
        await lines.until("server", "Serving HTTP", times=2)
        await supervisor.ready()
        assert [child.pid for child in supervisor.children] != [pid]


async def test_services_start_at_once_and_restart_alone() -> None:
    slow = run("import time; time.sleep(600)")  # it prints nothing, so it is never ready
    async with supervised(Service("slow", slow), Service("server", SERVER)) as (supervisor, lines):
        await lines.until("server", "Serving HTTP")
        before = {child.service.name: child.pid for child in supervisor.children}
        os.kill(before["server"], signal.SIGKILL)
        await lines.until("server", "Serving HTTP", times=2)
        after = {child.service.name: child.pid for child in supervisor.children}
        assert before["slow"] == after["slow"]
        assert before["server"] != after["server"]


async def test_one_that_says_it_must_not_run_is_given_up() -> None:
    async with supervised(Service("wrong", run("import os; os._exit(2)"))) as (supervisor, lines):
        async with asyncio.timeout(SECONDS):
            error = await supervisor.given_up
        assert str(error) == "wrong cannot run like this; it says why above"
        assert not any("starts again" in line for _, line in lines.said)


async def test_every_line_is_handed_on_under_its_name_the_last_one_too() -> None:
    code = "import sys; print('out\\n' + 'x' * 200000); sys.stderr.write('err, no end'); sys.stderr.flush()"
    async with supervised(Service("talker", run(code))) as (_, lines):
        await lines.until("talker", "ended with status 0")
        said = [line for name, line in lines.said if name == "talker"]
    assert "out" in said
    assert "x" * 200_000 in said
    assert any("err, no end" in line for line in said)


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{ignore}; print(1, flush=True); time.sleep(600)"
    async with supervised(Service("deaf", run(code))) as (supervisor, lines):
        await supervisor.ready()
        await supervisor.stop("deaf", grace=0.2)
        await lines.until("deaf", "did not end within 0.2 s; killed")


async def test_nothing_outlives_a_supervisor_that_is_killed() -> None:
    code = (
        "import asyncio, os\nfrom cli.up.stack import Service\nfrom cli.up.supervisor import Supervisor\n"
        "async def main():\n"
        "  def say(name, line): print(name, line, flush=True)\n"
        "  supervisor = Supervisor(os.environ, say)\n"
        f"  supervisor.keep(Service('server', {SERVER!r})); await supervisor.ready()\n"
        "  print(*[child.pid for child in supervisor.children], flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    async with asyncio.timeout(SECONDS):
        assert (await parent.stdout.readline()).startswith(b"server Serving")
        child = int(await parent.stdout.readline())
        watched = os.pidfd_open(child)
        parent.kill()
        await parent.wait()
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(watched, ended.set)
        await ended.wait()
    asyncio.get_running_loop().remove_reader(watched)
    os.close(watched)
