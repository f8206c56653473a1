"""One connection to the public port: since when a request comes in on it, and how a slow one is cut off.

A request is slow when its body has not come to its end some seconds after its first byte; a client is stuck
when it does not take what was answered. How long that may be, and who looks, is `gateway.http.server`'s to
say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import web

from gateway.http.response import NO_HEADERS, TextResponse, packet
from runtime.metrics import REQUESTS

if TYPE_CHECKING:
    from gateway.http.server import HttpServer

log = structlog.get_logger(__name__)


class RequestTimeout(TimeoutError):
    """Raised to who reads the body of a request that is cut off."""


class Connection(web.RequestHandler):
    """aiohttp's side of a connection, which also knows since when it waits for the client."""

    __slots__ = ("_heard_out", "_port", "_request", "_untaken_since", "_wire", "began")

    def __init__(self, port: HttpServer, **options: Any) -> None:
        super().__init__(port, loop=asyncio.get_running_loop(), **options)
        self._port = port
        self._request: web.BaseRequest | None = None
        self._untaken_since: float | None = None
        self._heard_out = False
        #: The loop's time at which the first byte of the request that comes in was there; null between them.
        self.began: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)  # uvloop's are not derived from it
        super().connection_made(transport)
        self._port.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._port.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if data and self.began is None and not self._heard_out:
            self._begin()
        super().data_received(data)

    def begin(self, request: web.BaseRequest) -> None:
        """The head of this request is there; it goes to its handler."""
        self._request = request
        if self.began is None:  # it came together with the one before
            self._begin()

    def end(self, last: bool) -> None:
        """The handler has answered; after the last answer nothing more is listened to."""
        self._request = self.began = None
        self._heard_out = last
        self._port.rest(self)

    def look(self, now: float, patience: float) -> None:
        """Cut the client off if it has let us wait for more than `patience` seconds."""
        if self.began is not None and now - self.began > patience:
            if self._request is None:
                self.turn_away(408, "The request did not come to its end in time")
            elif not self._request.content.is_eof():
                self._request.content.set_exception(RequestTimeout())
        if not self._wire.get_write_buffer_size():
            self._untaken_since = None
        elif self._untaken_since is None:
            self._untaken_since = now
        elif now - self._untaken_since > patience:
            self._wire.abort()

    def turn_away(self, status: int, text: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        """Answer who has not brought a whole head, and close."""
        REQUESTS.labels("unknown", status).inc()
        self._wire.write(b"".join(packet(status, text, headers, "close")))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp asks for the answer to what is no HTTP (400), or to a fault of ours (500)."""
        if status >= 500:
            log.error("A request was not handled", exc_info=exc)
        REQUESTS.labels("unknown", status).inc()
        answer = TextResponse(status, "This is no HTTP" if status < 500 else "A fault of ours")
        answer.force_close()
        return answer

    def _begin(self) -> None:
        self.began = asyncio.get_running_loop().time()
        self._port.work(self)
