"""What is kept of a record that ClickHouse refuses: all of it, with ClickHouse's own words. Pure.

Its id is where it stands, so that rejecting it again adds nothing.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import blake2b

from msgspec import json

from gateway.postback import Rejected, encode, format_time
from sinks.record import Record

#: A record's timestamp is the producer's to choose; ClickHouse's times end in 2299, and ours begin in 2000.
FIRST_MS, LAST_MS = 946_684_800_000, 4_102_444_800_000


def rejection(cluster: str, record: Record, words: str) -> bytes:
    """The row of table `rejected`, in JSONEachRow."""
    place = (cluster, record.topic, record.partition, record.offset)
    at_ms = min(max(record.timestamp, FIRST_MS), LAST_MS)
    body, body_base64 = _as_text(record.value or b"")
    rejected = Rejected(
        rejection_id=blake2b("\0".join(map(str, place)).encode(), digest_size=16).hexdigest(),
        reason=words,
        received_at=format_time(datetime.fromtimestamp(at_ms / 1000, UTC)),
        body=body,
        body_base64=body_base64,
        stage="sinks",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=(record.key or b"").decode(errors="replace"),
    )
    return encode(rejected)[:-1] + b',"cluster":' + json.encode(cluster) + b"}\n"


def _as_text(value: bytes) -> tuple[str, str]:
    try:
        return value.decode(), ""
    except UnicodeDecodeError:
        return "", b64encode(value).decode()
