"""Watches a consumer group from each of its members: its lag, and partitions that no member owns.

Every member reports the whole group, so that no alert falls silent with the member that should have owned a
partition. Partitions that stay without an owner make one member ask for a new assignment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from time import monotonic

import structlog
from prometheus_client import Gauge

from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.consumer_group import GroupSnapshot
from runtime.kafka.group_reader import GroupReader
from runtime.kafka.membership import Membership

POLL_INTERVAL = 2.0
#: Seconds a stable generation may have partitions without an owner, and the most that chance adds to them.
UNOWNED_TIMEOUT, JITTER = 30.0, 5.0
#: Partitions that /readyz names at most.
NAMED = 5

log = structlog.get_logger(__name__)


class RejoinPolicy:
    """Decides when this member asks for a new assignment: once a generation, and one member after another.

    The member with the least id asks first; should it not be able to, the next one asks `timeout` seconds
    later, and so on.
    """

    def __init__(self, rng: Random, timeout: float = UNOWNED_TIMEOUT, jitter: float = JITTER) -> None:
        self._rng = rng
        self._timeout = timeout
        self._jitter = jitter
        self._generation: int | None = None
        self._due_after = 0.0
        self._since: float | None = None
        self._asked = False

    def observe(self, now: float, generation: int, rank: int, unowned: bool) -> bool:
        """Whether to ask now.

        Args:
            now: monotonic time in seconds.
            rank: of this member's id among those of the group, from 0.
            unowned: whether the group is stable and has partitions without an owner.
        """
        if generation != self._generation:
            self._generation, self._since, self._asked = generation, None, False
            self._due_after = self._timeout + self._rng.uniform(0, self._jitter)
        if not unowned:
            self._since = None
        elif self._since is None:
            self._since = now
        if self._since is None or self._asked:
            return False
        self._asked = now - self._since >= self._due_after + rank * self._timeout
        return self._asked


class GroupMonitor:
    """One for each process that is a member."""

    def __init__(
        self,
        reader: GroupReader,
        membership: Callable[[], Membership | None],
        health: Health,
        lag: Gauge,
        unowned: Gauge,
        policy: RejoinPolicy | None = None,
    ) -> None:
        """
        Args:
            membership: gives this process's membership; None while its consumer has not started.
            lag: gauge with the labels topic and partition.
            unowned: gauge without labels.
        """
        self._reader = reader
        self._membership = membership
        self._health = health
        self._lag = lag
        self._unowned = unowned
        self._policy = policy or RejoinPolicy(Random())
        #: The group as it was polled last; None while Kafka does not answer.
        self.latest: GroupSnapshot | None = None

    async def run(self) -> None:
        """Poll until cancelled. While Kafka does not answer, the gauges keep their last values."""
        while True:
            try:
                self.latest = await self._reader.snapshot()
            except KafkaUnavailable as error:
                self.latest = None
                self._health.down("group", str(error))
            else:
                self._report(self.latest)
            await asyncio.sleep(POLL_INTERVAL)

    def _report(self, group: GroupSnapshot) -> None:
        for tp, lag in group.lag.items():
            self._lag.labels(tp.topic, tp.partition).set(lag)
        self._unowned.set(len(group.unowned))
        membership = self._membership()
        if problem := _problem(group, membership):
            self._health.down("group", problem)
        else:
            self._health.up("group")
        if membership is None or membership.member_id not in group.members:
            return
        rank = sorted(group.members).index(membership.member_id)
        if self._policy.observe(monotonic(), membership.generation, rank, bool(group.unowned)):
            log.warning("Partitions have no owner, rejoining the group", partitions=sorted(group.unowned))
            membership.rejoin()


def _problem(group: GroupSnapshot, membership: Membership | None) -> str:
    """What is wrong with the group, in words; empty when nothing is."""
    if membership and membership.problem:
        return str(membership.problem)
    if not group.unowned:
        return ""
    names = [str(tp) for tp in sorted(group.unowned)]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"no member owns {', '.join(names[:NAMED])}{more}"
