"""The life of a process: settings, logs, signals, and a sentence where it must not run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import structlog

from runtime.errors import Refused
from runtime.logs import configure_logs
from runtime.settings import Settings, load_settings

#: Exit statuses: all went well; work failed; the process must not run like this (settings, topics, schema).
DONE, FAILED, REFUSED = 0, 1, 2

Work = Callable[[Settings, asyncio.Event], Awaitable[None]]


def run_process(work: Work) -> None:
    """Run `work(settings, stop)` to its end and exit with its status.

    The first SIGTERM or SIGINT sets `stop`, upon which the work should end in good order; a second one ends
    the process at once.
    """
    try:
        settings = load_settings()
        configure_logs(settings.log_level, settings.log_format)
        asyncio.run(_until_stopped(work, settings))
    except Refused as why:
        print(why, file=sys.stderr)
        sys.exit(REFUSED)
    except Exception:
        structlog.get_logger(__name__).exception("Ended by an error")
        sys.exit(FAILED)
    sys.exit(DONE)


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
