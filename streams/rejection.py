"""Kafka records that are no postback: why, and what is kept of them. Pure; whoever asks again gets the same.

A rejection is identified by where its record stands, so that rejecting it once more adds nothing.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeAlias

from gateway.postback import Rejected, format_time

#: A closed set: it is a label of a metric.
Reason: TypeAlias = Literal["undecodable_record", "empty_record", "foreign_key"]

#: Of a longer value only the beginning is kept; the record itself stays in its topic for days.
KEPT_BYTES = 512 * 1024


class Place(NamedTuple):
    """Where a record stands."""

    cluster: str
    topic: str
    partition: int
    offset: int


def rejection(place: Place, reason: Reason, key: bytes | None, value: bytes | None, at_ms: int) -> Rejected:
    """What is kept of a record that streams cannot take for a postback; `at_ms` is the record's time."""
    body, body_base64 = _as_json(value or b"")
    return Rejected(
        rejection_id=blake2b("\0".join(map(str, place)).encode(), digest_size=16).hexdigest(),
        reason=reason,
        received_at=format_time(datetime.fromtimestamp(at_ms / 1000, UTC)),
        body=body,
        body_base64=body_base64,
        stage="streams",
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
        key=(key or b"").decode(errors="replace"),
    )


def _as_json(value: bytes) -> tuple[str, str]:
    kept = value[:KEPT_BYTES]
    try:
        return kept.decode(), ""
    except UnicodeDecodeError:
        return "", b64encode(kept).decode()
