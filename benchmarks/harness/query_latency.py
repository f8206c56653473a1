"""How long it takes from the gateway's 200 to a row of the message that a query sees, at a steady rate.

Asked after are messages of which nothing was posted before, some tens a second, not all: the questions run on
the same machine.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from clickhouse_connect import get_async_client

from benchmarks.harness.payloads import Body, write_bodies
from benchmarks.harness.posting import post_all_kept
from benchmarks.harness.stack import Stack

ASKED_PER_SECOND = 40
LOOK_SECONDS, PATIENCE_SECONDS = 0.1, 60.0


async def seconds_to_be_queryable(stack: Stack, folder: Path, bodies: list[Body], rate: float) -> list[float]:
    """Of the messages that were asked after, in no order.

    Raises:
        TimeoutError: one was not there long after the last answer.
    """
    requests, times = folder / "bodies", folder / "times"
    write_bodies(requests, bodies)
    asked = _new_messages(bodies, rate)
    looking = asyncio.create_task(_look(stack, asked, rate))
    await post_all_kept(stack.address, requests, len(bodies) / rate, rate, times)
    async with asyncio.timeout(PATIENCE_SECONDS):
        seen_at = await looking
    answered_at = array("d", times.read_bytes())
    return [seen_at[message_id] - answered_at[number] for message_id, number in asked.items()]


def _new_messages(bodies: Sequence[Body], rate: float) -> dict[str, int]:
    """Messages to ask after, and the number of the request that is the first about each."""
    first: dict[str, int] = {}
    for number, body in enumerate(bodies):
        first.setdefault(body.message_id, number)
    every = max(1, round(len(first) / (len(bodies) / rate * ASKED_PER_SECOND)))
    return dict([*first.items()][::every])


async def _look(stack: Stack, asked: Mapping[str, int], rate: float) -> Mapping[str, float]:
    """When (monotonic) a query saw each of them."""
    client = await get_async_client(dsn=stack.url)
    seen_at: dict[str, float] = {}
    began = monotonic()
    try:
        while len(seen_at) < len(asked):
            await asyncio.sleep(LOOK_SECONDS)
            posted = (monotonic() - began) * rate  # at most
            missing = [one for one, number in asked.items() if number <= posted and one not in seen_at]
            if not missing:
                continue
            found = await client.query(
                f"SELECT DISTINCT toString(message_id) FROM {stack.messages} "
                "WHERE message_id IN {missing:Array(UUID)}",
                parameters={"missing": missing},
            )
            now = monotonic()
            seen_at |= {message_id: now for (message_id,) in found.result_rows}
    finally:
        await client.close()
    return seen_at
