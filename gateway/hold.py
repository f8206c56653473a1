"""A sink that accepts nothing while a file holds it; the file says why.

The embedded Kafka writes it when its data has reached its limit; an operator may, too.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.sink import Durability, Sink, Unavailable
from runtime.health import Health

POLL_INTERVAL = 0.5


class HoldingSink:
    """A sink before another one; `watch` has to run."""

    def __init__(self, sink: Sink, file: Path, health: Health) -> None:
        self._sink = sink
        self._file = file
        self._health = health
        self._reason: str | None = None
        self._read()

    async def watch(self) -> None:
        """Look at the file until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            self._read()

    @property
    def away(self) -> str | None:
        return self._reason or self._sink.away

    async def keep(self, topic: str, key: bytes, value: bytes) -> Durability:
        if self._reason:
            raise Unavailable(self._reason)
        return await self._sink.keep(topic, key, value)

    def _read(self) -> None:
        try:
            self._reason = self._file.read_text().strip() or f"{self._file} exists"
            self._health.down("hold", self._reason)
        except FileNotFoundError:
            self._reason = None
            self._health.up("hold")
