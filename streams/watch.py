"""Watches the worker: what is left to do, and whether it moves.

A worker that has work and does none ends itself, with the reason, so that whoever supervises it starts
another; unless Kafka does not answer at all, which no restart mends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager
from faust.types import TP

from runtime.errors import KafkaAway
from runtime.kafka import cluster_id
from runtime.metrics import RECOVERY_LEFT, STATES_KEPT, STREAMS_LAG
from runtime.ops import Health
from streams.message import MESSAGES
from streams.progress import Horizon, Standstill, lags
from streams.table import MessagesTable

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 5.0

Ends = Mapping[TP, int]


class Stalled(Exception):
    """There is work, Kafka answers, and nothing moves: only a restart can help."""


def _manager(app: faust.App) -> TableManager:
    manager: TableManager = app.tables  # type: ignore[assignment]
    return manager


class Watch:
    """Looks every second, and says what it sees: health, metrics, the horizon."""

    def __init__(
        self,
        app: faust.App,
        table: MessagesTable,
        options: Mapping[str, Any],
        health: Health,
        horizon: Horizon[TP],
        clock: Callable[[], datetime],
        stall_after: float,
    ) -> None:
        self._app = app
        self._table = table
        self._options = options
        self._health = health
        self._horizon = horizon
        self._clock = clock
        self._stall_after = stall_after
        self._standstill = Standstill()

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            Stalled: there is work and nothing moves.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._clock()
            ends = await self._ends()
            if ends is not None:
                self._horizon.observe(now, ends, self._done)
            work = self._work_left(ends)
            self._report(ends, work)
            self._check_standstill(work)

    @property
    def _done(self) -> Mapping[TP, int]:
        return self._table.consumer.frontier.offsets if self._app.consumer else {}

    async def _ends(self) -> Ends | None:
        """Where the logs end; null when Kafka does not tell."""
        ours = list(self._done)
        if not ours:
            return {}
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                ends = await self._table.consumer.highwaters(*ours)
        except (KafkaError, TimeoutError) as error:
            self._health.missing["kafka"] = f"no answer: {error or 'too slow'}"
            await self._excuse()
            return None
        self._health.missing.pop("kafka", None)
        return {TP(*tp): end for tp, end in ends.items()}

    async def _excuse(self) -> None:
        """While Kafka answers nobody, standing still is not our fault."""
        try:
            await cluster_id(self._options)
        except KafkaAway:
            self._standstill = Standstill()

    def _work_left(self, ends: Ends | None) -> str:
        """In words, empty when there is none."""
        if not self._app.rebalancing_count:  # generations are no sign: a broker may count them from 0
            return "not in the group yet"
        left = sum(max(0, left) for left in _manager(self._app).recovery.active_remaining().values())
        RECOVERY_LEFT.set(left if self._app.in_recovery else 0)
        if self._app.in_recovery:
            return f"{left} records of {MESSAGES} to read before work begins"
        if self._app.rebalancing:
            return "partitions are being assigned"
        if ends is None:
            return "unknown, as Kafka does not answer"
        behind = sum(lags(ends, self._done).values())
        return f"{behind} postbacks to merge" if behind else ""

    def _report(self, ends: Ends | None, work: str) -> None:
        at_work = self._app.rebalancing_count and not self._app.rebalancing
        if at_work and not self._app.in_recovery:
            self._health.missing.pop("partitions", None)
        else:
            self._health.missing["partitions"] = work
        STREAMS_LAG.clear()
        for tp, lag in lags(ends or {}, self._done).items():
            STREAMS_LAG.labels(tp.topic, tp.partition).set(lag)
        STATES_KEPT.set(sum(self._table.kept(partition).store.count() for partition in self._table.ready))

    def _check_standstill(self, work: str) -> None:
        mark = (
            sum(self._done.values()),
            sum(kept.end for kept in self._table.states.all()),
            self._app.rebalancing_count,
        )
        seconds = self._standstill.observe(monotonic(), mark, work_left=bool(work))
        if seconds < self._stall_after:
            return
        raise Stalled(
            f"{work}, and nothing done for {seconds:.0f} s ({self._table.trouble or 'no error known'})"
        )
