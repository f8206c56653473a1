"""The response to a request: a line of text or JSON, written with its head in one call.

Assembling aiohttp's general response cost a tenth of the gateway's CPU time.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.helpers import rfc822_formatted_time

RETRY_AFTER_SECONDS = "5"
TEXT, JSON = "text/plain; charset=utf-8", "application/json"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class TextResponse(web.StreamResponse):
    """A response of one line, for one request."""

    def __init__(
        self, status: int, text: str, headers: Mapping[str, str] = NO_HEADERS, media_type: str = TEXT
    ) -> None:
        super().__init__(status=status)
        self._text = text
        self._more_headers = headers
        self._media_type = media_type

    async def prepare(self, request: web.BaseRequest) -> None:
        """Called by aiohttp before `write_eof`; sends nothing yet."""
        self._req = request
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive

    async def write_eof(self, data: bytes = b"") -> None:
        """Send head and body.

        Raises:
            ConnectionResetError: the client has disconnected.
        """
        request = self._req
        assert request
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError
        if not self._keep_alive:
            connection = "close"
        else:
            connection = "" if request.version >= HttpVersion11 else "keep-alive"
        head, body = encode_response(
            self.status, self._text, self._more_headers, connection, self._media_type
        )
        request.transport.write(head if request.method == hdrs.METH_HEAD else head + body)
        self._eof_sent = True


def final_response(
    request: web.BaseRequest, status: int, text: str, headers: Mapping[str, str] = NO_HEADERS
) -> TextResponse:
    """A response before the end of the body; it closes the connection, so that the rest need not be sent."""
    response = TextResponse(status, text, headers)
    if not request.content.is_eof():
        response.force_close()
    return response


def encode_response(
    status: int, text: str, headers: Mapping[str, str], connection: str, media_type: str = TEXT
) -> tuple[bytes, bytes]:
    """Encode head and body; `connection` is the value of that header, which is left out if empty."""
    body = f"{text}\n".encode()
    more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if connection:
        more += f"Connection: {connection}\r\n"
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nServer: postbacks\r\n"
        f"Date: {rfc822_formatted_time()}\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode(), body
