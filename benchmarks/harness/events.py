"""Generates postbacks of realistic shape and size without end, quickly; deterministic for a seed.

The simulated provider generates one cycle, and the gateway's parser turns it into postbacks. Each further
cycle has other ids, all masked with the same number, so that a duplicate stays a duplicate. This takes one
or two microseconds per postback instead of sixty.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count, islice
from random import Random
from typing import NamedTuple

from gateway.parsing.postback import parse
from gateway.parsing.request import RawRequest
from gateway.postback import TOPIC_OF, encode, format_time, key_of
from simulator.traffic import traffic

ACCOUNT = "acme"
#: Postbacks per cycle, interleaved scenarios, and postbacks per second by their own times.
CYCLE, CONCURRENCY, RATE = 40_000, 10_000, 2_000.0


class Event(NamedTuple):
    """A record of one of the postback topics."""

    topic: str
    key: bytes
    value: bytes


class _Template(NamedTuple):
    topic: str
    value: bytes
    message_id: str
    event_id: str


def generate_events(seed: int, start: datetime) -> Iterator[Event]:
    """Yield events without end. Their times begin at `start`, in every cycle."""
    templates = list(_templates(seed, start))
    for number in count():
        mask = cycle_mask(seed, number)
        for topic, value, message_id, event_id in templates:
            new_id = masked_guid(message_id, mask)
            new_value = value.replace(message_id.encode(), new_id.encode()).replace(
                event_id.encode(), _masked(event_id, mask).encode()
            )
            yield Event(topic, key_of(ACCOUNT, new_id), new_value)


def _templates(seed: int, start: datetime) -> Iterator[_Template]:
    def clock(number: int) -> datetime:
        return start + timedelta(seconds=number / RATE)

    for number, simulated in enumerate(islice(traffic(seed, CONCURRENCY, clock), CYCLE)):
        postback = parse(
            RawRequest(
                account=ACCOUNT,
                query="",
                headers=[
                    ("Content-Type", "application/x-www-form-urlencoded"),
                    ("User-Agent", "CDYNE SMSv2"),
                ],
                body=simulated.body,
                client_ip="192.0.2.7",
                received_at=format_time(clock(number)),
            )
        )
        yield _Template(TOPIC_OF[type(postback)], encode(postback), postback.message_id, postback.event_id)


def cycle_mask(seed: int, number: int) -> int:
    """Return the mask for the ids of a cycle. The first one keeps its ids."""
    return Random(f"{seed}/{number}").getrandbits(128) if number else 0


def masked_guid(guid: str, mask: int) -> str:
    """Map an id to another one. The same mask maps it back."""
    digits = _masked(guid.replace("-", ""), mask)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _masked(digits: str, mask: int) -> str:
    return f"{int(digits, 16) ^ mask:032x}"
