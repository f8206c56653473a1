"""Posts a postback, and retries it until it is acknowledged.

Whether the real provider retries is not documented. The simulated one does, like comparable providers: it
posts the same body again after a timeout and after any status but a 2xx, except permanent errors (4xx other
than 408 and 429).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from runtime.process import wait_up_to
from simulator.connection import Connection, ConnectionBroken, Target, connect
from simulator.ledger import Ledger
from simulator.postback import SimulatedPostback

#: Called after each post with the status of the response (None: connection broken, or timeout).
Observer = Callable[[SimulatedPostback, int | None], None]

#: Seconds of backoff before the first retry, doubled up to the maximum.
MIN_BACKOFF, MAX_BACKOFF = 0.05, 2.0
#: Posts of one postback until it is given up.
MAX_ATTEMPTS = 100
#: Seconds to wait for a response, including those to connect.
TIMEOUT = 15.0


class Poster:
    """Posts on connections that callers keep, and records each post. After `stop` nothing is retried."""

    def __init__(
        self,
        ledger: Ledger,
        stop: asyncio.Event,
        observe: Observer | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        timeout: float = TIMEOUT,
    ) -> None:
        self._ledger = ledger
        self._stop = stop
        self._observe = observe
        self._max_attempts = max_attempts
        self._timeout = timeout

    async def post(
        self, target: Target, postback: SimulatedPostback, connection: Connection | None
    ) -> Connection | None:
        """Post until acknowledged or given up; return the connection for the next post to this target."""
        backoff = MIN_BACKOFF
        for attempt in range(self._max_attempts):
            if attempt and self._stop.is_set():
                break
            status: int | None = None
            try:
                async with asyncio.timeout(self._timeout):
                    if not (connection and connection.usable):
                        connection = await connect(target)
                    status = await connection.post(postback.body)
            except (OSError, ConnectionBroken, TimeoutError):
                if connection:
                    connection.close()
            self._ledger.record(postback, status)
            if self._observe:
                self._observe(postback, status)
            if status and (status < 300 or (400 <= status < 500 and status not in (408, 429))):
                break
            await wait_up_to(backoff, self._stop)
            backoff = min(backoff * 2, MAX_BACKOFF)
        return connection
