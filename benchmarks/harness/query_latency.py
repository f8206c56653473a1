"""Measures the time from the gateway's 200 until a query sees a row of the message, at a steady rate.

It samples new messages, some tens per second instead of all, as the queries run on the same machine.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from clickhouse_connect import get_async_client

from benchmarks.harness.payloads import Body, write_bodies
from benchmarks.harness.posting import post_all_acknowledged
from benchmarks.harness.stack import RunningStack

SAMPLES_PER_SECOND = 40
POLL_INTERVAL, TIMEOUT = 0.1, 60.0


async def query_latencies(stack: RunningStack, folder: Path, bodies: list[Body], rate: float) -> list[float]:
    """Post the bodies, and return the seconds of the sampled messages, unordered.

    Raises:
        TimeoutError: a message was not visible `TIMEOUT` after the last response.
    """
    requests, times = folder / "bodies", folder / "times"
    write_bodies(requests, bodies)
    sampled = _sample(bodies, rate)
    polling = asyncio.create_task(_poll_messages(stack, sampled, rate))
    await post_all_acknowledged(stack.address, requests, len(bodies) / rate, rate, times)
    async with asyncio.timeout(TIMEOUT):
        visible_at = await polling
    responded_at = array("d", times.read_bytes())
    return [visible_at[message_id] - responded_at[number] for message_id, number in sampled.items()]


def _sample(bodies: Sequence[Body], rate: float) -> dict[str, int]:
    """Return some messages, and the number of the first request about each."""
    first: dict[str, int] = {}
    for number, body in enumerate(bodies):
        first.setdefault(body.message_id, number)
    step = max(1, round(len(first) / (len(bodies) / rate * SAMPLES_PER_SECOND)))
    return dict([*first.items()][::step])


async def _poll_messages(stack: RunningStack, sampled: Mapping[str, int], rate: float) -> Mapping[str, float]:
    """Return when (monotonic) a query first saw each message."""
    visible_at: dict[str, float] = {}
    began = monotonic()
    async with await get_async_client(dsn=stack.url) as client:
        while len(visible_at) < len(sampled):
            await asyncio.sleep(POLL_INTERVAL)
            posted = (monotonic() - began) * rate  # at most
            missing = [id_ for id_, number in sampled.items() if number <= posted and id_ not in visible_at]
            if not missing:
                continue
            result = await client.query(
                f"SELECT DISTINCT toString(message_id) FROM {stack.messages} "
                "WHERE message_id IN {missing:Array(UUID)}",
                parameters={"missing": missing},
            )
            now = monotonic()
            visible_at |= {message_id: now for (message_id,) in result.result_rows}
    return visible_at
