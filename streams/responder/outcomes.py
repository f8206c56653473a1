"""Records what became of intents, of other processes too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from runtime.metrics import AUTO_RESPONSE_OUTCOMES
from streams.auto_response import AUTO_RESPONSES, AutoResponse, Reason
from streams.respond.records import outcome_record
from streams.responder.appender import Appender
from streams.responder.view import HandsetView

#: Seconds after which an intent of another process without an outcome is unknown: its call has timed out.
RESOLVED_WITHIN, POLL_INTERVAL = 45.0, 0.5
#: Seconds to record what became of a send that is cancelled at shutdown.
CANCEL_TIMEOUT = 3.0
ABANDONED = "its process ended, or lost its partition, before the outcome was recorded"

log = structlog.get_logger(__name__)


class OutcomeRecorder:
    def __init__(
        self, view: HandsetView, appender: Appender, now: Callable[[], datetime], resolved_within: float
    ) -> None:
        """
        Args:
            resolved_within: seconds, see RESOLVED_WITHIN.
        """
        self._view = view
        self._appender = appender
        self._now = now
        self._resolved_within = timedelta(seconds=resolved_within)

    async def append(self, record: AutoResponse) -> None:
        """Append the record of an outcome; return once it is in Kafka."""
        AUTO_RESPONSE_OUTCOMES.labels(record.outcome).inc()
        if record.outcome == "unknown":
            log.error("Outcome of a send unknown", attempt=record.attempt, reason=record.detail)
        await self._appender.append(record)

    async def abandon(self, intent: AutoResponse) -> None:
        """Record that an intent may have been sent or not."""
        await self.append(outcome_record(intent, "unknown", self._now(), detail=ABANDONED))

    async def close(self, intent: AutoResponse, partition: int, reason: Reason) -> None:
        """Record that an intent was not sent; if another attempt was first, wait for its outcome."""
        if self._view.history(partition).may_close(intent):
            await self.append(outcome_record(intent, "not_sent", self._now(), reason=reason))
        else:
            await self.resolve(intent, partition)

    async def resolve(self, intent: AutoResponse, partition: int) -> None:
        """Wait until the event has an outcome; if it takes too long, that is unknown."""
        history = self._view.history(partition)
        while known := history.find(intent.account, intent.event_id):
            if known.outcome != "intent":
                return
            if self._now() - datetime.fromisoformat(intent.at) > self._resolved_within:
                await self.abandon(known)
                return
            await asyncio.sleep(POLL_INTERVAL)
            await self._view.catch_up(AUTO_RESPONSES, partition)

    async def before_exit(self, work: Awaitable[None]) -> None:
        """Finish in time, or leave it to whichever process gets the response next."""
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await work
        except TimeoutError:
            log.warning("Outcome of an automatic response not recorded")
