"""Supervised processes: restarted when they exit, unless they must not run, and stopped in time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from runtime.errors import StartupError
from runtime.supervisor import (
    MAX_BACKOFF,
    MIN_BACKOFF,
    STABLE_AFTER,
    STOP_TIMEOUT,
    Service,
    Supervisor,
    next_backoff,
)
from tests.support.process import ROOT

#: A server of the standard library: prints a line when it listens, and runs until it is stopped.
SERVER = ("http.server", "0", "--bind", "127.0.0.1")
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}
TIMEOUT = 60.0


def run(code: str) -> tuple[str, ...]:
    """Arguments with which `python -m` runs this code."""
    return ("timeit", "-n", "1", "-r", "1", code)


class Lines:
    """Collects lines by service, and waits for them."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._added = asyncio.Event()

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._added.set()

    async def wait_for(self, name: str, text: str, times: int = 1) -> None:
        async with asyncio.timeout(TIMEOUT):
            while sum(service == name and text in line for service, line in self.lines) < times:
                self._added.clear()
                await self._added.wait()


@asynccontextmanager
async def supervised(
    *services: Service, stop_timeout: float = STOP_TIMEOUT
) -> AsyncIterator[tuple[Supervisor, Lines]]:
    lines = Lines()
    supervisor = Supervisor(ENVIRONMENT, lines, lines, stop_timeout)
    supervisor.start(*services)
    try:
        yield supervisor, lines
    finally:
        await supervisor.stop_all()


async def test_killed_process_is_restarted() -> None:
    async with supervised(Service("server", SERVER)) as (supervisor, lines):
        await supervisor.wait_ready()
        before = supervisor.pids
        os.kill(before["server"], signal.SIGKILL)
        await lines.wait_for("server", "exited with status -9; restarting in 0.5 s")
        await lines.wait_for("server", "Serving HTTP", times=2)
        await supervisor.wait_ready()
        assert supervisor.pids != before


async def test_stopped_process_gets_one_sigterm() -> None:
    """A second one would end a process of ours at once, instead of in good order."""
    count = (
        "import signal, sys, time; seen = []; signal.signal(signal.SIGTERM, lambda *_: seen.append(1)); "
        "print('started', flush=True)\n"
        "while not seen: time.sleep(0.01)\n"
        "time.sleep(0.5); print('signals:', len(seen), flush=True)"
    )
    async with supervised(Service("counter", run(count))) as (supervisor, lines):
        await supervisor.wait_ready()
        await supervisor.stop("counter")
        await lines.wait_for("counter", "signals: 1")


async def test_backoff_stays_below_the_limit_of_its_service() -> None:
    failing = Service("failing", run("import os; os._exit(1)"), max_backoff=MIN_BACKOFF)
    async with supervised(failing) as (_, lines):
        await lines.wait_for("failing", f"restarting in {MIN_BACKOFF:g} s", times=3)


async def test_services_start_concurrently_and_restart_alone() -> None:
    slow = run("import time; time.sleep(600)")  # prints nothing, so it is never ready
    async with supervised(Service("slow", slow), Service("server", SERVER)) as (supervisor, lines):
        await lines.wait_for("server", "Serving HTTP")
        before = supervisor.pids
        os.kill(before["server"], signal.SIGKILL)
        await lines.wait_for("server", "Serving HTTP", times=2)
        after = supervisor.pids
        assert before["slow"] == after["slow"]
        assert before["server"] != after["server"]


async def test_process_that_refuses_to_run_is_not_restarted() -> None:
    async with supervised(Service("wrong", run("import os; os._exit(2)"))) as (supervisor, lines):
        with pytest.raises(StartupError, match="Process wrong cannot run like this"):
            async with asyncio.timeout(TIMEOUT):
                await supervisor.wait_failed()
        assert not any("restarting" in line for _, line in lines.lines)


async def test_every_output_line_is_forwarded_with_its_name() -> None:
    code = "import sys; print('out\\n' + 'x' * 200000); sys.stderr.write('err, no end'); sys.stderr.flush()"
    async with supervised(Service("talker", run(code))) as (_, lines):
        await lines.wait_for("talker", "exited with status 0")
        output = [line for name, line in lines.lines if name == "talker"]
    assert "out" in output
    assert "x" * 200_000 in output
    assert any("err, no end" in line for line in output)


async def test_process_that_ignores_sigterm_is_killed() -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{ignore}; print(1, flush=True); time.sleep(600)"
    async with supervised(Service("deaf", run(code)), stop_timeout=0.2) as (supervisor, lines):
        await supervisor.wait_ready()
        assert not await supervisor.stop("deaf")
        await lines.wait_for("deaf", "did not exit within 0.2 s; killed")


async def test_processes_do_not_outlive_a_killed_supervisor() -> None:
    code = (
        "import asyncio, os\nfrom runtime.supervisor import Service, Supervisor\n"
        "async def main():\n"
        "  def show(name, line): print(name, line, flush=True)\n"
        "  supervisor = Supervisor(os.environ, show, show)\n"
        f"  supervisor.start(Service('server', {SERVER!r})); await supervisor.wait_ready()\n"
        "  print(supervisor.pids['server'], flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    async with asyncio.timeout(TIMEOUT):
        assert (await parent.stdout.readline()).startswith(b"server Serving")
        pidfd = os.pidfd_open(int(await parent.stdout.readline()))
        parent.kill()
        await parent.wait()
        exited = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, exited.set)
        await exited.wait()
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)


def test_backoff_doubles_up_to_its_limit() -> None:
    pauses = [0.0]
    for _ in range(12):
        pauses.append(next_backoff(pauses[-1], uptime=1))
    assert pauses[1] == MIN_BACKOFF
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert pauses[-1] == MAX_BACKOFF


def test_backoff_is_reset_after_a_long_uptime() -> None:
    assert next_backoff(MAX_BACKOFF, uptime=STABLE_AFTER) == MIN_BACKOFF
