"""What the records of a key in `messages` come to: they are joined, none is believed alone.

A worker that had lost its partitions without knowing may have written a state that tells less than the one
before it. Joining makes the order of the two irrelevant. Where the last record of a key tells less than the
join, it is called stale, and is to be said again. A tombstone starts afresh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import structlog
from msgspec import DecodeError

from streams.message import decode_message, encode_message, join
from streams.times import is_time

log = structlog.get_logger(__name__)


class Restored(NamedTuple):
    """Of each key its state after the records, and the keys whose last record is stale."""

    values: dict[bytes, bytes | None]
    stale: set[bytes]


def restore(records: Iterable[tuple[bytes, bytes | None]], known: Mapping[bytes, bytes | None]) -> Restored:
    """Follow the log: `known` is what came before these records.

    Raises:
        NewerVersion: a record is of a newer format than this code knows.
    """
    told: dict[bytes, list[bytes | None]] = {}
    for key, value in records:
        told.setdefault(key, []).append(value)
    values = {key: _after(key, known.get(key), values) for key, values in told.items()}
    return Restored(values, {key for key, value in values.items() if value != told[key][-1]})


def merge_foreign(
    records: Iterable[tuple[bytes, bytes | None]], known: Mapping[bytes, bytes | None]
) -> Restored:
    """Take in records that others wrote among ours, although the keys are ours.

    Unlike `replay`, `known` is of now, later than the records: a tombstone among them forgets nothing that is
    known.

    Raises:
        NewerVersion: a record is of a newer format than this code knows.
    """
    told = list(records)
    last = dict(told)
    values = {
        key: _after(key, value, [known[key]]) if known.get(key) is not None else value
        for key, value in restore(told, {}).values.items()
    }
    return Restored(values, {key for key, value in values.items() if value != last[key]})


def _after(key: bytes, known: bytes | None, values: Sequence[bytes | None]) -> bytes | None:
    for value in values:
        if value is None:
            known = None
        elif value != known:
            known = _joined(key, known, value)
    return known


def _joined(key: bytes, known: bytes | None, value: bytes) -> bytes | None:
    try:
        told = decode_message(value)
        if not (is_time(told.last_seen_at) and is_time(told.sent_at or told.last_seen_at)):
            raise DecodeError("its times are none")
    except DecodeError as error:
        log.error("No message in the log: passed over", key=key.decode(errors="replace"), why=str(error))
        return known
    if known is None:
        return value
    joined = join(told, decode_message(known))
    return value if joined is told else encode_message(joined)
