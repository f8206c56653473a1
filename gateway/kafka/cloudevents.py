"""CloudEvents headers of a record (Kafka binding, binary mode), read from its encoded value. Pure.

The record is a postback or a submission, in our own encoding (`gateway.postback`, `gateway.submission`): a
quote inside a text is always escaped, so the searched names only match real fields, and both come before any
field whose name the sender chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from gateway.postback import POSTBACK_TOPICS
from gateway.submission import SUBMISSIONS

Headers: TypeAlias = list[tuple[str, bytes]]
#: Builds the headers of a record from its topic and value.
HeadersOf: TypeAlias = Callable[[str, bytes], Headers]

EVENT_ID, RECEIVED_AT = b',"event_id":"', b',"received_at":"'
EVENT_ID_BYTES, TIME_BYTES = 32, 24
#: The headers that all records of a topic share.
_CONSTANT: dict[str, Headers] = {
    topic: [
        ("ce_specversion", b"1.0"),
        ("ce_type", topic.encode()),
        ("ce_source", b"/postbacks/gateway"),
        ("content-type", b"application/json"),
    ]
    for topic in (*POSTBACK_TOPICS, SUBMISSIONS)
}


def headers_of(topic: str, value: bytes) -> Headers:
    """The headers of a record; empty if it is neither a postback nor a submission."""
    constant = _CONSTANT.get(topic)
    event_id = value.find(EVENT_ID)
    received_at = value.find(RECEIVED_AT, event_id)
    if not constant or event_id < 0 or received_at < 0:
        return []
    event_id += len(EVENT_ID)
    received_at += len(RECEIVED_AT)
    return [
        *constant,
        ("ce_id", value[event_id : event_id + EVENT_ID_BYTES]),
        ("ce_time", value[received_at : received_at + TIME_BYTES]),
    ]


def no_headers(topic: str, value: bytes) -> Headers:
    """No headers, for shorter records."""
    return []
