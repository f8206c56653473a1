"""A sink that rejects every record while a hold file exists; the file's text is the reason.

The embedded Kafka creates the file when its data reaches the size limit; an operator may create it, too.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.sink import Durability, Sink, Unavailable
from runtime.health import Health

POLL_INTERVAL = 0.5


class HoldingSink:
    """Wraps another sink. Run `watch` to notice when the file appears or disappears."""

    def __init__(self, sink: Sink, file: Path, health: Health) -> None:
        self._sink = sink
        self._file = file
        self._health = health
        self._reason: str | None = None
        self._read()

    async def watch(self) -> None:
        """Poll the file until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            self._read()

    @property
    def unavailable_reason(self) -> str | None:
        return self._reason or self._sink.unavailable_reason

    async def put(self, topic: str, key: bytes, value: bytes) -> Durability:
        if self._reason:
            raise Unavailable(self._reason)
        return await self._sink.put(topic, key, value)

    def _read(self) -> None:
        try:
            self._reason = self._file.read_text().strip() or f"{self._file} exists"
            self._health.down("hold", self._reason)
        except FileNotFoundError:
            self._reason = None
            self._health.up("hold")
