"""Sessions: connections that outlive a request, for temporary tables and SET; one request at a time each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from embedded.clickhouse.errors import ClickHouseError

MAX_TIMEOUT = 3600.0


@dataclass
class _Session:
    connection: Any
    expires_at: float
    busy: bool = False


class Sessions:
    """The sessions of a server, by user and id. Thread-safe."""

    def __init__(self, connect: Callable[[], Any], clock: Callable[[], float]) -> None:
        self._connect = connect
        self._clock = clock
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._lock = threading.Lock()

    @contextmanager
    def acquire(self, user: str, session_id: str, timeout: float) -> Iterator[Any]:
        """Lock the session for the block and yield its connection; create the session if there is none.

        It expires `timeout` seconds after the block.

        Raises:
            ClickHouseError: 373, another request holds the lock.
        """
        key = (user, session_id)
        with self._lock:
            self._evict_expired()
            session = self._sessions.get(key)
            if session and session.busy:
                text = f"Session {session_id} is locked by a concurrent client"
                raise ClickHouseError(373, text, "SESSION_IS_LOCKED")
            if not session:
                session = self._sessions[key] = _Session(self._connect(), 0)
            session.busy = True
        try:
            yield session.connection
        finally:
            session.expires_at = self._clock() + min(timeout, MAX_TIMEOUT)
            session.busy = False

    def _evict_expired(self) -> None:
        now = self._clock()
        for key, session in list(self._sessions.items()):
            if not session.busy and session.expires_at < now:
                self._sessions.pop(key).connection.close()
