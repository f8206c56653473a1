"""A consumer's membership in its group: sends no incomplete assignment, and can rejoin on request.

A broker that has just started may return incomplete metadata. An assignor skips the topics that it does not
see there, and the group becomes stable with unowned partitions. So the group's leader checks the metadata
that its assignment was computed from: if incomplete, it refreshes for up to half a session timeout (no
heartbeats are sent while joining), then leaves the group without sending an assignment and joins again.

Reaches into private parts of aiokafka's `GroupCoordinator`; `tests/streams/test_transport.py` names what a
new version breaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

#: Milliseconds after which clients refresh their metadata; aiokafka's default is five minutes.
METADATA_MAX_AGE_MS = 10_000
REFRESH_INTERVAL = 0.2

log = structlog.get_logger(__name__)


class IncompleteMetadata(Exception):
    """Topics of the group are missing from the leader's metadata, or have another number of partitions."""


class Membership:
    """Create it between `start` and `subscribe` of a consumer, in the consumer's event loop."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: Mapping[str, int]) -> None:
        """
        Args:
            partitions: partition count that each subscribed topic must have.
        """
        self._coordinator = consumer._coordinator
        self._partitions = dict(partitions)
        self._loop = asyncio.get_running_loop()
        self._leave_first = False
        #: Why this member did not send an assignment; None as soon as it has joined.
        self.problem: IncompleteMetadata | None = None
        self._assign = self._coordinator._perform_assignment
        self._join = self._coordinator._do_rejoin_group
        self._coordinator._perform_assignment = self._assign_completely
        self._coordinator._do_rejoin_group = self._join_or_leave

    @property
    def member_id(self) -> str:
        """The id that the coordinator gave to this member; empty while it is not a member."""
        return str(self._coordinator.member_id)

    @property
    def generation(self) -> int:
        """The group's generation that this member joined last; -1 before the first."""
        return int(self._coordinator.generation)

    def rejoin(self) -> None:
        """Leave the group and join again, which triggers a new assignment. Thread-safe.

        Partitions are revoked first. Joining without leaving would return the old assignment.
        """
        self._loop.call_soon_threadsafe(self._request_rejoin)

    def _request_rejoin(self) -> None:
        self._leave_first = True
        self._coordinator.request_rejoin()

    async def _assign_completely(self, response: Any) -> Any:
        """Run `GroupCoordinator._perform_assignment` until its metadata is complete.

        Raises:
            IncompleteMetadata: it was not within half a session timeout.
        """
        deadline = monotonic() + self._coordinator._session_timeout_ms / 2000
        while True:
            assignments = await self._assign(response)  # no await between its computation and the check
            problem = self._check_metadata()
            if problem is None:
                return assignments
            self.problem = problem
            if monotonic() >= deadline:
                raise problem
            await self._refresh_metadata(deadline)

    def _check_metadata(self) -> IncompleteMetadata | None:
        cluster = self._coordinator._cluster
        wrong = []
        for topic in sorted(self._coordinator._group_subscription):
            found = len(cluster.partitions_for_topic(topic) or ())
            wanted = self._partitions.get(topic, max(found, 1))
            if found != wanted:
                wrong.append(f"{topic} has {found} partitions instead of {wanted}")
        return IncompleteMetadata(f"Kafka's metadata is incomplete: {', '.join(wrong)}") if wrong else None

    async def _refresh_metadata(self, deadline: float) -> None:
        await asyncio.sleep(REFRESH_INTERVAL)
        update = self._coordinator._client.force_metadata_update()
        await asyncio.wait([update], timeout=max(0.0, deadline - monotonic()))

    async def _join_or_leave(self, subscription: Any) -> bool:
        if self._leave_first:
            self._leave_first = False
            await self._coordinator._maybe_leave_group()
        try:
            joined = bool(await self._join(subscription))
        except KafkaError as error:  # aiokafka wraps what the assignment raised
            if not isinstance(error.__cause__, IncompleteMetadata):
                raise
            log.warning("Incomplete assignment not sent, rejoining the group", reason=str(error.__cause__))
        else:
            if joined:
                self.problem = None
            return joined
        await self._coordinator._maybe_leave_group()
        await asyncio.sleep(REFRESH_INTERVAL)
        return False
