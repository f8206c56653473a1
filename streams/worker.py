"""One streams worker: a member of the group, with the tables that its correlations merge into.

Faust assigns partitions, restores the tables from their changelogs and delivers batches. It runs in our own
event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from faust.types import AppT

from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.membership import Membership
from runtime.process import force_exit_after
from streams.correlation import Correlation
from streams.transport.app import consumer_of, records_to_restore
from streams.watchdog import WorkerStatus

#: Seconds for a shutdown, and for one after a crash.
SHUTDOWN_TIMEOUT, CRASH_TIMEOUT = 20.0, 1.0


class Worker:
    """A member of the group `streams`."""

    def __init__(self, app: AppT, correlations: Sequence[Correlation]) -> None:
        """
        Args:
            app: that of all correlations' tables.
        """
        self._app = app
        self._correlations = correlations
        app.on_partitions_revoked.connect(self._on_revoked)

    async def run(self, stop: asyncio.Event, *background: Coroutine[Any, Any, None]) -> None:
        """Process batches until `stop` is set, then leave the group.

        Args:
            background: run meanwhile; an error of one ends the worker.

        Raises:
            StartupError: this code cannot read the states, or not store them here.
            Stalled: there is work, and nothing progresses.
        """
        app = asyncio.create_task(self._app.start())
        tasks = [asyncio.create_task(coroutine) for coroutine in background]
        stopped = asyncio.create_task(stop.wait())
        crashed = asyncio.create_task(self._app.wait_until_stopped())
        pending: set[asyncio.Task[Any]] = {app, *tasks, stopped, crashed}
        failure: Exception | None = None
        try:
            while not (stopped.done() or crashed.done()):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except Exception as error:
            failure = error
        if isinstance(self._app.crash_reason, Exception):
            failure = self._app.crash_reason
        if failure:  # after a crash, Faust can neither be stopped nor be cancelled
            force_exit_after(CRASH_TIMEOUT, failure)
            raise failure
        force_exit_after(SHUTDOWN_TIMEOUT, None)
        for task in (*tasks, stopped, crashed):
            task.cancel()
        await self._app.stop()
        app.cancel()

    def membership(self) -> Membership | None:
        """The membership in the group; None until the consumer has started."""
        return consumer_of(self._app).thread.membership if self._app.consumer else None

    def status(self) -> WorkerStatus:
        """The worker's progress, for its watchdog."""
        offsets = consumer_of(self._app).tracker.offsets if self._app.consumer else {}
        return WorkerStatus(
            processed={TopicPartition(*tp): offset for tp, offset in offsets.items()},
            assignments=self._app.rebalancing_count,
            is_rebalancing=self._app.rebalancing,
            to_restore=records_to_restore(self._app),
            retrying={
                TopicPartition(each.table.spec.topic, partition): retry
                for each in self._correlations
                for partition, retry in each.writer.retrying.items()
            },
            changelog_position=sum(
                state.position
                for each in self._correlations
                for state in each.table.states.by_partition.values()
            ),
            states={each.table.spec.topic: each.table.count() for each in self._correlations},
        )

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        for correlation in self._correlations:
            await correlation.table.flush()
            correlation.watermark.reset()
