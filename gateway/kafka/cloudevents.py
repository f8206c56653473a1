"""CloudEvents' headers of a postback's record (Kafka binding, binary mode), read off its encoded value. Pure.

The value is our own encoding (`gateway.postback`): inside of a text no quote stands without a backslash, so
the names looked for are found where they are fields, and both stand before those that a stranger can name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from gateway.postback import POSTBACK_TOPICS

Headers: TypeAlias = list[tuple[str, bytes]]
#: The headers of a record of this topic with this value.
HeadersOf: TypeAlias = Callable[[str, bytes], Headers]

EVENT_ID, RECEIVED_AT = b',"event_id":"', b',"received_at":"'
EVENT_ID_BYTES, TIME_BYTES = 32, 24
#: Of each topic the headers that are the same for all of its records.
_SAME: dict[str, Headers] = {
    topic: [
        ("ce_specversion", b"1.0"),
        ("ce_type", topic.encode()),
        ("ce_source", b"/postbacks/gateway"),
        ("content-type", b"application/json"),
    ]
    for topic in POSTBACK_TOPICS
}


def headers_of(topic: str, value: bytes) -> Headers:
    """The headers of a record; none of what is no postback."""
    same = _SAME.get(topic)
    event_id = value.find(EVENT_ID)
    received_at = value.find(RECEIVED_AT, event_id)
    if not same or event_id < 0 or received_at < 0:
        return []
    event_id += len(EVENT_ID)
    received_at += len(RECEIVED_AT)
    return [
        *same,
        ("ce_id", value[event_id : event_id + EVENT_ID_BYTES]),
        ("ce_time", value[received_at : received_at + TIME_BYTES]),
    ]


def no_headers(topic: str, value: bytes) -> Headers:
    """For those who would rather have shorter records."""
    return []
