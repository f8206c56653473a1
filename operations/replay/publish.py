"""Publishes a page of records at a limited rate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from operations.replay.stored_request import ReplayedRecord

#: Records in flight.
PAGE_SIZE = 500
#: Returns once the record is in Kafka.
Publish: TypeAlias = Callable[[ReplayedRecord], Awaitable[None]]


def page_size(rate: float) -> int:
    """Records to publish at a time, so that a tenth of a second's are in flight."""
    return max(1, min(PAGE_SIZE, int(rate / 10)))


async def publish_page(records: Sequence[ReplayedRecord], publish: Publish, rate: float) -> None:
    """Publish records at once, and wait until `rate` allows for the next ones. Raises what `publish` does."""
    clock = asyncio.get_running_loop().time
    started = clock()
    await asyncio.gather(*map(publish, records))
    await asyncio.sleep(max(0.0, started + len(records) / rate - clock()))
