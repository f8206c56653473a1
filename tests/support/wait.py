"""Waits for what is not signalled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

TIMEOUT = 120.0
#: A pause lasts so many times as long as the poll before it, because the cores are for what is awaited.
PAUSE_FACTOR = 3
#: Seconds.
MIN_PAUSE, MAX_PAUSE = 0.05, 0.5


def pause_after(polling: float) -> float:
    """Return the seconds until the next poll, after one that took `polling` seconds."""
    return min(max(MIN_PAUSE, PAUSE_FACTOR * polling), MAX_PAUSE)


async def eventually(
    get: Callable[[], Any], description: str, holds: Callable[[Any], object] = bool, timeout: float = TIMEOUT
) -> Any:
    """Poll until `holds` is true of the value; return it. Fail after `timeout` seconds.

    Args:
        get: returns the value, or an awaitable of it.
    """
    value = None
    try:
        async with asyncio.timeout(timeout):
            while True:
                began = time.monotonic()
                value = get()
                if isawaitable(value):
                    value = await value
                if holds(value):
                    return value
                await asyncio.sleep(pause_after(time.monotonic() - began))
    except TimeoutError:
        raise AssertionError(
            f"After {timeout:.0f} s still not: {description}; the last value is {value!r:.2000}"
        ) from None
