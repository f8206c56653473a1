"""A kept-alive connection of the load generator, on a bare socket, which hears just enough of an answer."""

from __future__ import annotations

import socket
from functools import lru_cache


class Connection:
    """One request at a time."""

    __slots__ = ("due", "heard", "number", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.heard = b""
        #: Of the request that is under way: which one, and when (monotonic) it was to go out.
        self.number, self.due = 0, 0.0

    def status(self) -> str | None:
        """The answer's, once all of it is there.

        Raises:
            ConnectionError: the other side has closed, or said more than one answer.
        """
        received = self.socket.recv(65_536)
        if not received:
            raise ConnectionError(f"closed by the other side, after {self.heard!r}")
        self.heard += received
        head, end, rest = self.heard.partition(b"\r\n\r\n")
        if not end:
            return None
        status, length = read_head(head)
        if len(rest) < length:
            return None
        if len(rest) > length:
            raise ConnectionError(f"more than one answer: {self.heard!r}")
        self.heard = b""
        return status


@lru_cache(maxsize=256)  # they differ in their date at most
def read_head(head: bytes) -> tuple[str, int]:
    """The status of an answer, and the length of its body."""
    _, _, length = head.lower().partition(b"content-length:")
    return head[9:12].decode(), int(length.partition(b"\r\n")[0])
