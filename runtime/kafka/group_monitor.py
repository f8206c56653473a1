"""Reports a consumer group's lag and unowned partitions, from each of its members.

Every member reports the whole group, so that an alert does not fall silent with the member that should have
owned a partition. If partitions stay unowned, one member rejoins, which triggers a new assignment.
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
#: Seconds a stable generation may have unowned partitions before a member rejoins, and the jitter's limit.
UNOWNED_TIMEOUT, JITTER = 30.0, 5.0
#: Partitions that /readyz names; the rest are counted.
MAX_NAMED = 5

log = structlog.get_logger(__name__)


class RejoinPolicy:
    """Decides when this member rejoins: at most once a generation, one member after another.

    The member with the lowest id rejoins first; if that has no effect, the next one follows `timeout` seconds
    later, and so on.
    """

    def __init__(self, rng: Random, timeout: float = UNOWNED_TIMEOUT, jitter: float = JITTER) -> None:
        self._rng = rng
        self._timeout = timeout
        self._jitter = jitter
        self._generation: int | None = None
        self._delay = 0.0
        self._unowned_since: float | None = None
        self._rejoined = False

    def observe(self, now: float, generation: int, rank: int, unowned: bool) -> bool:
        """Return whether to rejoin now.

        Args:
            now: monotonic time in seconds.
            rank: position of this member's id among the group's sorted ids, from 0.
            unowned: whether the group is stable and has unowned partitions.
        """
        if generation != self._generation:
            self._generation, self._unowned_since, self._rejoined = generation, None, False
            self._delay = self._timeout + self._rng.uniform(0, self._jitter)
        if not unowned:
            self._unowned_since = None
        elif self._unowned_since is None:
            self._unowned_since = now
        if self._unowned_since is None or self._rejoined:
            return False
        self._rejoined = now - self._unowned_since >= self._delay + rank * self._timeout
        return self._rejoined


class GroupMonitor:
    """Polls the group and sets gauges and health; one for each process that is a member."""

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
            membership: returns this process's membership; None until its consumer has started.
            lag: gauge with the labels topic and partition.
            unowned: gauge without labels.
        """
        self._reader = reader
        self._membership = membership
        self._health = health
        self._lag = lag
        self._unowned = unowned
        self._policy = policy or RejoinPolicy(Random())
        #: The last snapshot; None while Kafka is unavailable.
        self.latest: GroupSnapshot | None = None

    async def run(self) -> None:
        """Poll until cancelled. While Kafka is unavailable, the gauges keep their last values."""
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
            log.warning("Partitions without an owner, rejoining the group", partitions=sorted(group.unowned))
            membership.rejoin()


def _problem(group: GroupSnapshot, membership: Membership | None) -> str:
    """Describe what is wrong with the group; empty if nothing is."""
    if membership and membership.problem:
        return str(membership.problem)
    if not group.unowned:
        return ""
    names = [str(tp) for tp in sorted(group.unowned)]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"no member owns {', '.join(names[:MAX_NAMED])}{more}"
