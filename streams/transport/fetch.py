"""Unpacks what was fetched for a partition with aiokafka's record parser alone.

aiokafka wraps each parsed record in a second object, through four calls, which takes three times as long as
parsing it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException


class UnpackedRecords:
    """Replaces a `PartitionRecords` and consumes it. Must be iterated to its end at once."""

    def __init__(self, fetched: PartitionRecords) -> None:
        #: The consumer's next position. Moves after all is unpacked, so that no corrupt batch is skipped.
        self.next_fetch_offset: int = fetched.next_fetch_offset
        self._records = self._unpack(fetched)
        fetched._records_iterator = None  # never started, it would hold the fetch until garbage collection

    def __iter__(self) -> Iterator[Any]:
        """Yield the records as parsed.

        Raises:
            CorruptRecordException: a checksum is wrong; iterating again yields nothing.
        """
        return self._records

    def _unpack(self, fetched: PartitionRecords) -> Iterator[Any]:
        records: list[Any] = []
        position = self.next_fetch_offset
        while fetched._records.has_next():
            batch = fetched._records.next_batch()
            if fetched._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {fetched._tp}")
            if not batch.is_control_batch:  # markers of transactions
                found = list(batch)
                if found and found[0].offset < position:  # Kafka returns whole batches
                    found = [record for record in found if record.offset >= position]
                records += found
            position = batch.next_offset
        self.next_fetch_offset = position
        yield from records
