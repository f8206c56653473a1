"""Postbacks of real shape and size, as many as one likes, quickly; the same for the same seed.

The simulated provider tells its stories once, and the gateway's own parser makes postbacks of them. Every
further copy of these has other ids (each masked with the same number, so that a repeat stays a repeat), which
takes a microsecond or two instead of sixty.
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
#: Postbacks of one copy, messages under way at a time, and postbacks a second by their own times.
COPY, OPEN_STORIES, RATE = 40_000, 10_000, 2_000.0


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


def events(seed: int, began: datetime) -> Iterator[Event]:
    """Without end; their times begin at `began`, and begin there again with every copy."""
    templates = list(_told(seed, began))
    for number in count():
        mask = Random(f"{seed}/{number}").getrandbits(128) if number else 0
        for topic, value, message_id, event_id in templates:
            new_id = masked_guid(message_id, mask)
            new_value = value.replace(message_id.encode(), new_id.encode()).replace(
                event_id.encode(), _masked(event_id, mask).encode()
            )
            yield Event(topic, key_of(ACCOUNT, new_id), new_value)


def _told(seed: int, began: datetime) -> Iterator[_Template]:
    def clock(number: int) -> datetime:
        return began + timedelta(seconds=number / RATE)

    for number, packet in enumerate(islice(traffic(seed, OPEN_STORIES, clock), COPY)):
        postback = parse(
            RawRequest(
                account=ACCOUNT,
                query="",
                headers=[
                    ("Content-Type", "application/x-www-form-urlencoded"),
                    ("User-Agent", "CDYNE SMSv2"),
                ],
                body=packet.body,
                client_ip="192.0.2.7",
                received_at=format_time(clock(number)),
            )
        )
        yield _Template(TOPIC_OF[type(postback)], encode(postback), postback.message_id, postback.event_id)


def _masked(digits: str, mask: int) -> str:
    return f"{int(digits, 16) ^ mask:032x}"


def masked_guid(guid: str, mask: int) -> str:
    """Another id; the same for the same mask, and back again with it."""
    digits = _masked(guid.replace("-", ""), mask)
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
