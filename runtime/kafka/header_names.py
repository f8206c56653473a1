"""Reads records whose header names are not UTF-8, which other clients can write and aiokafka cannot read.

aiokafka raises UnicodeDecodeError for the whole batch, at every attempt. So its consumers get
`ReadableRecords`, which parses such a batch again, in Python and with U+FFFD for what is not UTF-8. All
others are parsed as before.

Replaces a class in a private part of aiokafka, which is therefore pinned to an exact version;
`tests/runtime/test_header_names.py` names what an upgrade breaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

#: Bytes before a batch's length, and before what it counts.
LENGTH_AT, LENGTH_FROM = 8, 12


class ReadableRecords:
    """The batches of a fetch's bytes, in the shape of aiokafka's `MemoryRecords`."""

    def __init__(self, fetched: bytes) -> None:
        self._fetched = fetched
        self._records = MemoryRecords(fetched)
        self._position = 0

    def size_in_bytes(self) -> int:
        size: int = self._records.size_in_bytes()
        return size

    def has_next(self) -> bool:
        more: bool = self._records.has_next()
        return more

    def next_batch(self) -> ReadableBatch:
        batch = self._records.next_batch()
        start = self._position
        length = int.from_bytes(self._fetched[start + LENGTH_AT : start + LENGTH_FROM], "big")
        self._position = start + LENGTH_FROM + length
        return ReadableBatch(batch, memoryview(self._fetched)[start : self._position])


class ReadableBatch:
    """A batch of aiokafka that can be iterated in any case, unless it is corrupt."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        """Yield the records as parsed.

        Raises:
            CorruptRecordException: they are not in Kafka's format.
        """
        try:
            return iter(list(self._batch))
        except (UnicodeDecodeError, CorruptRecordException):  # the latter in aiokafka's parser in Python
            return iter(_LenientBatch(self._raw))


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _LenientText(self._buffer)


class _LenientText(bytearray):
    """Bytes whose slices decode to text whatever they are."""

    def __getitem__(self, index: Any) -> Any:
        found: Any = super().__getitem__(index)
        return _LenientText(found) if isinstance(index, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, "replace")


fetcher.MemoryRecords = ReadableRecords
