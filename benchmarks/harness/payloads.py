"""Generates bodies of the provider's requests without end, before any measurement; deterministic for a seed.

As in `benchmarks.harness.events`, the simulated provider generates one cycle, and each further one has other
ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from msgspec import msgpack

from benchmarks.harness.events import CONCURRENCY, CYCLE, RATE, cycle_mask, masked_guid
from simulator.traffic import traffic


class Body(NamedTuple):
    """The body of a request, and the message that it is about."""

    message_id: str
    body: bytes


def generate_bodies(seed: int) -> Iterator[Body]:
    """Yield bodies without end. Their own times begin an hour ago, in every cycle."""
    start = datetime.now(UTC) - timedelta(hours=1)
    simulated = traffic(seed, CONCURRENCY, lambda number: start + timedelta(seconds=number / RATE))
    templates = [Body(postback.message_id, postback.body) for postback in islice(simulated, CYCLE)]
    for number in count():
        mask = cycle_mask(seed, number)
        for message_id, body in templates:
            new_id = masked_guid(message_id, mask)
            yield Body(new_id, body.replace(message_id.encode(), new_id.encode()))


def write_bodies(path: Path, bodies: list[Body]) -> None:
    """Write the bodies for the load generator, which is another process."""
    path.write_bytes(msgpack.encode([body.body for body in bodies]))


def read_bodies(path: Path) -> list[bytes]:
    return msgpack.decode(path.read_bytes(), type=list[bytes])
