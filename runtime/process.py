"""A process from start to exit: settings, logging, signals, exit status."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
import uvloop

from runtime.errors import KafkaUnavailable, StartupError
from runtime.log_filters import redact_phone_numbers
from runtime.logging import configure_logs
from runtime.settings import Settings, load_settings

#: Exit statuses: success; the work failed; the process must not run like this (settings, topics, schema).
DONE, FAILED, REFUSED = 0, 1, 2

PR_SET_PDEATHSIG = 1

Work = Callable[[Settings, asyncio.Event], Awaitable[None]]


def run_process(work: Work) -> None:
    """Run `work(settings, stop)` to completion and exit with its status.

    The first SIGTERM or SIGINT sets `stop`, upon which the work should shut down gracefully; a second one
    exits at once.
    """

    async def run(settings: Settings) -> None:
        await work(settings, stop_on_signals(lambda: os._exit(FAILED)))

    try:
        settings = load_settings()
        redaction = () if settings.log_personal else (redact_phone_numbers,)
        configure_logs(settings.log_level, settings.log_format, redaction)
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # loops of other threads use it, too
        asyncio.run(run(settings))
    except Exception as error:
        sys.exit(_report(error))
    sys.exit(DONE)


def exit_status(error: StartupError) -> int:
    """The exit status for an error that is reported by its text: `REFUSED`, unless a restart may succeed."""
    return FAILED if isinstance(error, KafkaUnavailable) else REFUSED


def stop_on_signals(on_repeat: Callable[[], object] = lambda: None) -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; `on_repeat` is called on each further one."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            on_repeat()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


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


async def wait_up_to(seconds: float, event: asyncio.Event) -> None:
    """Return when the event is set, or after so many seconds."""
    # Not wait_for: on Python 3.11 it loses a cancellation that comes together with the event.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def force_exit_after(seconds: float, error: Exception | None) -> None:
    """Exit after so many seconds even if the shutdown hangs, as libraries may.

    Args:
        error: reported then, and decides the exit status; None: the process was asked to stop.
    """

    def exit_now() -> None:
        status = _report(error or TimeoutError(f"Shutdown took longer than {seconds:g} s"))
        sys.stderr.flush()
        os._exit(status)

    timer = threading.Timer(seconds, exit_now)
    timer.daemon = True
    timer.start()


def exit_with_parent(death_signal: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """A `preexec_fn`: the kernel signals the child when the thread that started it exits. Linux only."""
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl  # looked up here: nothing may be loaded between fork and exec

    def set_death_signal() -> None:
        prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it exited before the call
            os._exit(FAILED)

    return set_death_signal


def _report(error: Exception) -> int:
    """Print or log the error; the exit status."""
    if isinstance(error, StartupError):
        print(error, file=sys.stderr)
        return exit_status(error)
    structlog.get_logger(__name__).error("Process failed", exc_info=error)
    return FAILED
