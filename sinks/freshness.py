"""When a row was received, read from its record: the one thing that a sink wants to know of a value. Pure."""

from __future__ import annotations

from datetime import datetime

from msgspec import DecodeError, Struct, json

from gateway.postback import Time
from sinks.record import Record


class _Times(Struct):
    """Of a postback or a rejection the first, of a message the second."""

    received_at: Time = ""
    last_seen_at: Time = ""


_decode = json.Decoder(_Times).decode


def received_at(record: Record) -> float:
    """In seconds since 1970; Kafka's time of the record where its value does not say."""
    try:
        times = _decode(record.value or b"{}")
        return datetime.fromisoformat(times.received_at or times.last_seen_at).timestamp()
    except (DecodeError, ValueError):
        return record.timestamp / 1000
