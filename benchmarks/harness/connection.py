"""A keep-alive connection of the load generator: a bare socket, and just enough parsing of responses."""

from __future__ import annotations

import socket
from functools import lru_cache


class LoadConnection:
    """Has one request in flight at a time."""

    __slots__ = ("_received", "due", "number", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._received = b""
        #: Of the request in flight: its number, and when (monotonic) it was due.
        self.number, self.due = 0, 0.0

    def read_status(self) -> str | None:
        """Read what has arrived; return the status once the response is complete, else None.

        Raises:
            ConnectionError: the gateway closed the connection, or sent more than one response.
        """
        received = self.socket.recv(65_536)
        if not received:
            raise ConnectionError(f"closed by the gateway after {self._received!r}")
        self._received += received
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        status, length = parse_head(head)
        if len(body) < length:
            return None
        if len(body) > length:
            raise ConnectionError(f"more than one response: {self._received!r}")
        self._received = b""
        return status


@lru_cache(maxsize=256)  # heads differ only in their date
def parse_head(head: bytes) -> tuple[str, int]:
    """Return the status of a response and the length of its body."""
    _, _, length = head.lower().partition(b"content-length:")
    return head[9:12].decode(), int(length.partition(b"\r\n")[0])
