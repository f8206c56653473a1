"""What was fetched for a partition, unpacked by aiokafka's parser alone.

aiokafka itself makes a second object of each record, with four calls on the way, which takes three times as
long as the parsing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException


class UnpackedRecords:
    """Stands in for the `PartitionRecords`, which it uses up. All of it has to be taken at once."""

    def __init__(self, fetched: PartitionRecords) -> None:
        #: Where the consumer goes on. Moves when all is unpacked: what cannot be is not passed over.
        self.next_fetch_offset: int = fetched.next_fetch_offset
        self._records = self._unpack(fetched)
        fetched._records_iterator = None  # never begun, it would keep the fetch until garbage is collected

    def __iter__(self) -> Iterator[Any]:
        """The records as the parser gives them.

        Raises:
            CorruptRecordException: a checksum is wrong; after that there are none.
        """
        return self._records

    def _unpack(self, fetched: PartitionRecords) -> Iterator[Any]:
        records: list[Any] = []
        position = self.next_fetch_offset
        while fetched._records.has_next():
            batch = fetched._records.next_batch()
            if fetched._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {fetched._tp}")
            if not batch.is_control_batch:  # which only says how a transaction ended
                found = list(batch)
                if found and found[0].offset < position:  # Kafka gives whole batches
                    found = [record for record in found if record.offset >= position]
                records += found
            position = batch.next_offset
        self.next_fetch_offset = position
        yield from records
