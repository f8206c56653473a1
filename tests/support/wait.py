"""Waits for what is not signalled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

TIMEOUT, POLL_INTERVAL = 120.0, 0.05


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
                value = get()
                if isawaitable(value):
                    value = await value
                if holds(value):
                    return value
                await asyncio.sleep(POLL_INTERVAL)
    except TimeoutError:
        raise AssertionError(
            f"After {timeout:.0f} s still not: {description}; the last value is {value!r:.2000}"
        ) from None
