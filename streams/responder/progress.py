"""Waits until streams has recognised the opt-outs that came before.

Streams writes them to `contact_events` before it commits. If it is late, a handset may have opted out
although no event says so yet.
"""

from __future__ import annotations

import asyncio

import structlog

from gateway.postback import RESPONSE
from gateway.submission import SUBMISSIONS
from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.offsets import Logs, Offsets
from streams.topics import GROUP

POLL_INTERVAL = 0.2
#: Of both an opt-out may follow: what a person writes, and that the provider refuses to send.
INPUTS = (RESPONSE, SUBMISSIONS)
#: Seconds after which /readyz reports it.
REPORT_AFTER = 10.0
PART = "streams"

log = structlog.get_logger(__name__)


class StreamsProgress:
    def __init__(self, logs: Logs, health: Health) -> None:
        self._logs = logs
        self._health = health
        #: Grows while it waits, and with each wait.
        self.attempts = 0

    async def wait(self) -> None:
        """Wait until streams has committed all opt-outs that are in Kafka now."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        ends: Offsets | None = None
        while True:
            self.attempts += 1
            try:
                ends = ends or await self._logs.ends(INPUTS)
                if not await self._logs.lag(GROUP, ends):
                    self._health.up(PART)
                    return
                problem = "streams has not read all responses and submissions yet"
            except KafkaUnavailable as error:
                problem = str(error)
            if loop.time() > started + REPORT_AFTER:
                self._health.down(PART, problem)
            await asyncio.sleep(POLL_INTERVAL)
