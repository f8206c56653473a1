"""A kept-alive HTTP connection that speaks as the provider does: it asks before it sends a body.

Written on the bare protocol: a client for everybody would cost several times as much per post as the
gateway does.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

#: How long .NET's client waits for `100 Continue` before it sends the body all the same.
CONTINUE_SECONDS = 0.35


class Broken(Exception):
    """The connection ended, or said what is no HTTP, before the answer was complete."""


class Target:
    """A PostBackURL, and the head of every request to it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url}: must be http://host:port/path or https://…")
        self.host = parts.hostname
        self.tls = parts.scheme == "https"
        self.port = parts.port or (443 if self.tls else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = (
            f"POST {path} HTTP/1.1\r\n"
            "User-Agent: CDYNE SMSv2\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Host: {parts.netloc.rpartition('@')[2]}\r\n"
            "Content-Length: %d\r\n"
            "Expect: 100-continue\r\n"
            "Connection: Keep-Alive\r\n\r\n"
        )

    def head(self, body: bytes) -> bytes:
        """The request without its body."""
        return (self._head % len(body)).encode()


class Connection(asyncio.Protocol):
    """One request at a time. `usable` says whether another may follow."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._received = bytearray()
        self._body: bytes | None = None
        self.usable = False

    async def post(self, body: bytes) -> int:
        """The code of the answer.

        Raises:
            Broken: the connection ended before it.
        """
        loop = asyncio.get_running_loop()
        assert self._transport
        self._answer, self._body = loop.create_future(), body
        self._transport.write(self._target.head(body))
        self._timer = loop.call_later(CONTINUE_SECONDS, self._send_body)
        try:
            return await self._answer
        finally:
            self._timer.cancel()

    def close(self) -> None:
        """End it, whatever is under way."""
        self.usable = False
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._answer and not self._answer.done():
            self._answer.set_exception(Broken(str(exc or "closed by the other side")))

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            while (end := self._received.find(b"\r\n\r\n")) >= 0:
                head = bytes(self._received[:end]).lower()
                status = int(head[9:12])
                if status == 100:
                    del self._received[: end + 4]
                    self._send_body()
                    continue
                length = _length(head)
                if len(self._received) >= end + 4 + length:
                    del self._received[: end + 4 + length]
                    self._complete(status, head)
                return
        except ValueError:
            self._fail("the answer is no HTTP")

    def _send_body(self) -> None:
        if self._body is not None and self._transport and not self._transport.is_closing():
            self._transport.write(self._body)
            self._body = None

    def _complete(self, status: int, head: bytes) -> None:
        # After an answer that did not wait for the body, nobody knows what the other side expects next.
        if self._body is not None or b"connection: close" in head:
            self.close()
        if self._answer and not self._answer.done():
            self._answer.set_result(status)

    def _fail(self, why: str) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(Broken(why))
        self.close()


async def connect(target: Target) -> Connection:
    """A new connection.

    Raises:
        OSError: there is none to be had.
    """
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(target), target.host, target.port, ssl=target.tls or None
    )
    return connection


def _length(head: bytes) -> int:
    if b"transfer-encoding:" in head:
        raise ValueError("an answer in chunks is not expected of a gateway")
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0
