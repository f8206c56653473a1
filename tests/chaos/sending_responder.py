"""A responder that is hit while it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from tests.chaos.cluster import Service
from tests.chaos.faults import Fault

#: Seconds for its next send, and between polls.
TIMEOUT, POLL_INTERVAL = 20.0, 0.02
IN_FLIGHT = "postbacks_respond_in_flight "


class SendingResponder(Service):
    """Faults come one after another: each when the process sends, unless that takes too long."""

    def __init__(self, name: str, settings: Mapping[str, object], folder: Path) -> None:
        super().__init__(name, ["streams.responder"], settings, folder)
        self._metrics = f"http://{settings['ops']}/metrics"
        self._lock = asyncio.Lock()
        #: Faults that hit it while it sent.
        self.hits = 0

    async def inject(self, fault: Fault) -> str:
        async with self._lock:
            self.hits += await self._is_sending()
            return await super().inject(fault)

    async def _is_sending(self) -> bool:
        """Wait until it sends; return whether it does in time."""
        try:
            async with asyncio.timeout(TIMEOUT), aiohttp.ClientSession() as http:
                while True:
                    if await self._count_in_flight(http):
                        return True
                    await asyncio.sleep(POLL_INTERVAL)
        except TimeoutError:
            return False

    async def _count_in_flight(self, http: aiohttp.ClientSession) -> float:
        try:
            async with http.get(self._metrics) as response:
                lines = (await response.text()).splitlines()
        except aiohttp.ClientError:  # it is being started
            return 0.0
        return sum(float(line.split()[1]) for line in lines if line.startswith(IN_FLIGHT))
