"""Bodies of the provider's requests, as many as one likes, made before any clock runs.

As with `benchmarks.harness.events`, the simulated provider tells its stories once, and every further copy has
other ids; all the same for the same seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import NamedTuple

from msgspec import msgpack

from benchmarks.harness.events import COPY, OPEN_STORIES, RATE, masked_guid
from simulator.traffic import traffic


class Body(NamedTuple):
    """What a request brings, and the message that it is about."""

    message_id: str
    body: bytes


def bodies(seed: int) -> Iterator[Body]:
    """Without end. Their own times begin an hour ago, and begin there again with every copy."""
    began = datetime.now(UTC) - timedelta(hours=1)
    packets = traffic(seed, OPEN_STORIES, lambda number: began + timedelta(seconds=number / RATE))
    told = [Body(packet.message_id, packet.body) for packet in islice(packets, COPY)]
    for number in count():
        mask = Random(f"{seed}/{number}").getrandbits(128) if number else 0
        for message_id, body in told:
            new_id = masked_guid(message_id, mask)
            yield Body(new_id, body.replace(message_id.encode(), new_id.encode()))


def write_bodies(path: Path, chosen: list[Body]) -> None:
    """For the load generator, which is a process of its own."""
    path.write_bytes(msgpack.encode([body.body for body in chosen]))


def read_bodies(path: Path) -> list[bytes]:
    return msgpack.decode(path.read_bytes(), type=list[bytes])
