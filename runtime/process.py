"""The life of a process: settings, logs, signals, and a sentence where it must not run."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable

import structlog
import uvloop

from runtime.errors import StartupError
from runtime.logging import configure_logs
from runtime.personal import redact_phone_numbers
from runtime.settings import Settings, load_settings

#: Exit statuses: all went well; work failed; the process must not run like this (settings, topics, schema).
DONE, FAILED, REFUSED = 0, 1, 2

PR_SET_PDEATHSIG = 1

Work = Callable[[Settings, asyncio.Event], Awaitable[None]]


def run_process(work: Work) -> None:
    """Run `work(settings, stop)` to its end and exit with its status.

    The first SIGTERM or SIGINT sets `stop`, upon which the work should end in good order; a second one ends
    the process at once.
    """
    try:
        settings = load_settings()
        personal = () if settings.log_personal else (redact_phone_numbers,)
        configure_logs(settings.log_level, settings.log_format, personal)
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # for the loops of threads, too
        asyncio.run(_until_stopped(work, settings))
    except Exception as why:
        sys.exit(_say(why))
    sys.exit(DONE)


def force_exit_after(seconds: float, why: Exception | None) -> None:
    """End the process after so long, if it still runs then, with the status of `why` (null: it was stopped).

    For work whose libraries may hang when they are told to end.
    """

    def end() -> None:
        status = _say(why or TimeoutError(f"Told to end, and did not within {seconds:g} s"))
        sys.stderr.flush()
        os._exit(status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def exit_with_thread(parent: int) -> Callable[[], None]:
    """A `preexec_fn`, on Linux: the kernel kills the new process when the thread that started it ends."""
    prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec nothing may be loaded

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(1)

    return ask_kernel


async def first_completed(*works: Awaitable[object]) -> None:
    """Return when one of them completes, or raise its error; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _say(why: Exception) -> int:
    if isinstance(why, StartupError):
        print(why, file=sys.stderr)
        return REFUSED
    structlog.get_logger(__name__).error("Ended by an error", exc_info=why)
    return FAILED


async def _until_stopped(work: Work, settings: Settings) -> None:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(FAILED)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await work(settings, stop)
