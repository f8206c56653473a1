"""One client connection: runs its requests and enforces its timeouts.

A request is slow if its body is incomplete after `request_timeout`, counted from its first byte; a client is
stuck if it does not read its responses for as long. Keep-alive's idle timeout is aiohttp's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, cast

import structlog
from aiohttp import web

from gateway.http.response import NO_HEADERS, TextResponse, encode_response
from runtime.metrics import REQUESTS

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: Body of a 408, whether the request's head or its body is incomplete.
TIMED_OUT = "The request timed out"

log = structlog.get_logger(__name__)


class RequestTimeout(TimeoutError):
    """Raised from the body reader when the request times out."""


class Listener(Protocol):
    """What a connection reports to."""

    @property
    def closing(self) -> bool:
        """Whether each response is now the last on its connection."""

    def on_open(self, connection: Connection) -> None:
        """The connection is open; it is not idle yet."""

    def on_request(self, connection: Connection) -> None:
        """The first byte of a request has arrived."""

    def on_idle(self, connection: Connection) -> None:
        """A request's handler has finished; the connection may be closed by then."""

    def on_close(self, connection: Connection) -> None:
        """The connection is closed; a handler may still be running."""


class Connection(web.RequestHandler):
    """aiohttp's connection, with timeouts for slow and stuck clients."""

    __slots__ = (
        "_handler",
        "_listener",
        "_request",
        "_request_began",
        "_request_timeout",
        "_responses_done",
        "_socket",
        "_write_blocked_since",
    )

    def __init__(
        self,
        manager: web.Server,
        handler: Handler,
        listener: Listener,
        request_timeout: float,
        **options: Any,
    ) -> None:
        """
        Args:
            manager: its handler must call `handle`.
            request_timeout: seconds for a request to arrive, and for a response to be read.
            options: of `aiohttp.web.RequestHandler`.
        """
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self._handler = handler
        self._listener = listener
        self._request_timeout = request_timeout
        self._request: web.BaseRequest | None = None
        #: Loop times: when the first byte of the current request arrived, and since when writing is blocked.
        self._request_began: float | None = None
        self._write_blocked_since: float | None = None
        #: The last response has been sent: input is ignored.
        self._responses_done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        super().connection_made(transport)
        self._listener.on_open(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.on_close(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if data and self._request_began is None and not self._responses_done:
            self._begin_request()
        super().data_received(data)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Run the handler of a request whose head has arrived."""
        self._request = request
        if self._request_began is None:  # pipelined: it arrived together with the previous one
            self._begin_request()
        response: web.StreamResponse | None = None
        try:
            response = await self._handler(request)
            if self._listener.closing:
                response.force_close()
            return response
        finally:
            self._request = self._request_began = None
            self._responses_done = response is None or response.keep_alive is False
            self._listener.on_idle(self)

    def check_timeouts(self, now: float) -> None:
        """Time out a slow request and abort a stuck client; `now` is the loop's time."""
        if self._request_began is not None and now - self._request_began > self._request_timeout:
            if self._request is None:
                self.reject(408, TIMED_OUT)
            elif not self._request.content.is_eof():
                self._request.content.set_exception(RequestTimeout())
        if not self._socket.get_write_buffer_size():
            self._write_blocked_since = None
        elif self._write_blocked_since is None:
            self._write_blocked_since = now
        elif now - self._write_blocked_since > self._request_timeout:
            self._socket.abort()

    def reject(self, status: int, text: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        """Respond before a request's head is complete, and close."""
        REQUESTS.labels("unknown", status).inc()
        self._socket.write(b"".join(encode_response(status, text, headers, "close")))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Respond to invalid HTTP (400) or a handler's exception (500); called by aiohttp."""
        if status >= 500:
            log.error("Request handler failed", exc_info=exc)
        REQUESTS.labels("unknown", status).inc()
        response = TextResponse(status, "This is no HTTP" if status < 500 else "A fault of ours")
        response.force_close()
        return response

    def _begin_request(self) -> None:
        self._request_began = asyncio.get_running_loop().time()
        self._listener.on_request(self)
