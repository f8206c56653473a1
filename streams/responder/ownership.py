"""Whether this process still owns the partitions of a batch: only then may it send.

A commit that the group accepts proves membership, as for streams (`streams/transport/lease.py`). At most one
call does not rest on this, but on the order of `auto_responses`: a lost partition only means that another
process decides now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from streams.transport.lease import Lease

COMMIT_TIMEOUT = 5.0

log = structlog.get_logger(__name__)


class Ownership:
    """Of all partitions that are assigned to a consumer."""

    def __init__(self, consumer: AIOKafkaConsumer, session_timeout: float) -> None:
        self._consumer = consumer
        self._lease = Lease(session_timeout)
        self._committing, self._renewing = asyncio.Lock(), asyncio.Lock()
        #: Number of the assignment.
        self.assignment = 0

    def revoke(self) -> None:
        """The partitions are no longer ours."""
        self.assignment += 1
        self._lease.release()

    async def commit(self, assignment: int, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit offsets of partitions of an assignment; return whether the group accepts them."""
        async with self._committing:
            if assignment != self.assignment:
                return False
            sent_at = monotonic()
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT):
                    await self._consumer.commit({tp: OffsetAndMetadata(at, "") for tp, at in offsets.items()})
            except (KafkaError, IllegalStateError, TimeoutError) as error:
                log.debug("Commit failed", reason=str(error))
                return False
            if assignment == self.assignment:
                self._lease.renew(sent_at)
            return assignment == self.assignment

    async def renew(self, assignment: int, offsets: Mapping[TopicPartition, int]) -> None:
        """Renew the lease if necessary.

        Args:
            offsets: to commit; nothing is processed by that.
        """
        async with self._renewing:  # one renewal is enough for all that wait for it
            if assignment == self.assignment and self._lease.needs_renewal(monotonic()):
                await self.commit(assignment, offsets)

    def is_valid(self, assignment: int) -> bool:
        """Whether the group certainly counts this process as the owner now."""
        return assignment == self.assignment and self._lease.remaining(monotonic()) > 0
