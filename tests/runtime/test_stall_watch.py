"""When a process that attempts nothing ends."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from runtime.health import Health
from runtime.kafka.stall_watch import watch
from runtime.watchdog import Stalled

STALL_AFTER = 0.2


async def test_work_without_attempts_ends_the_process() -> None:
    health = Health()
    with pytest.raises(Stalled, match=r"1 record left; nothing attempted for \d s"):
        await watch(lambda: "1 record left", lambda: 0, health, STALL_AFTER)
    assert "1 record left" in health.missing["progress"]


async def test_attempts_or_an_outage_are_no_stall() -> None:
    async def unavailable() -> bool:
        return False

    attempts = count()
    watches = [
        asyncio.create_task(watch(lambda: "1 record left", attempts.__next__, Health(), STALL_AFTER)),
        asyncio.create_task(watch(lambda: "1 record left", lambda: 0, Health(), STALL_AFTER, unavailable)),
    ]
    done, _ = await asyncio.wait(watches, timeout=5 * STALL_AFTER)
    assert not done
    for each in watches:
        each.cancel()
