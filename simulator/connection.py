"""A keep-alive HTTP/1.1 connection that behaves like the provider's client: `Expect: 100-continue`.

An asyncio protocol, because a general HTTP client would need several times as much CPU per post as the
gateway.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

#: Seconds that .NET's client waits for `100 Continue` before it sends the body anyway.
CONTINUE_TIMEOUT = 0.35


class ConnectionBroken(Exception):
    """The connection was closed before the response was complete, or the response is not valid HTTP."""


class Target:
    """A PostBackURL, and the request head for it.

    Raises:
        ValueError: the URL is not http or https, or has no host.
    """

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Target) and (self._head, self.tls) == (other._head, other.tls)

    def __hash__(self) -> int:
        return hash((self._head, self.tls))

    def head(self, body: bytes) -> bytes:
        """Return the request head for this body."""
        return (self._head % len(body)).encode()


class Connection(asyncio.Protocol):
    """Sends one request at a time; `usable` tells whether it can take another one."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._status: asyncio.Future[int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = bytearray()
        self._body: bytes | None = None
        self.usable = False

    async def post(self, body: bytes) -> int:
        """Post a body; return the status of the response.

        Raises:
            ConnectionBroken: the connection was closed, or the response is not valid HTTP.
        """
        loop = asyncio.get_running_loop()
        assert self._transport
        self._status, self._body = loop.create_future(), body
        self._transport.write(self._target.head(body))
        self._timer = loop.call_later(CONTINUE_TIMEOUT, self._send_body)
        try:
            return await self._status
        finally:
            self._timer.cancel()

    def close(self) -> None:
        """Abort the connection, and the request in flight."""
        self.usable = False
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(str(exc or "closed by the other side"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
                head = bytes(self._buffer[:end]).lower()
                status = int(head[9:12])
                if status == 100:
                    del self._buffer[: end + 4]
                    self._send_body()
                    continue
                length = _content_length(head)
                if len(self._buffer) >= end + 4 + length:
                    del self._buffer[: end + 4 + length]
                    self._complete(status, head)
                return
        except ValueError:
            self._fail("the response is not valid HTTP")

    def _send_body(self) -> None:
        if self._body is not None and self._transport and not self._transport.is_closing():
            self._transport.write(self._body)
            self._body = None

    def _complete(self, status: int, head: bytes) -> None:
        # If the response came before the body was sent, the server may or may not still expect the body.
        if self._body is not None or b"connection: close" in head:
            self.close()
        if self._status and not self._status.done():
            self._status.set_result(status)

    def _fail(self, reason: str) -> None:
        if self._status and not self._status.done():
            self._status.set_exception(ConnectionBroken(reason))
        self.close()


async def connect(target: Target) -> Connection:
    """Open a connection; the caller closes it.

    Raises:
        OSError: the connection failed.
    """
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(target), target.host, target.port, ssl=target.tls or None
    )
    return connection


def _content_length(head: bytes) -> int:
    if b"transfer-encoding:" in head:
        raise ValueError("chunked responses are not supported, as the gateway sends none")
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0
