"""Keeps aiohttp from repeating a request by itself, and tells whether the request may have left.

After a broken connection aiohttp repeats GET and other methods that HTTP calls idempotent, once, whether the
connection is new or reused. No documented option prevents that. It does so only after errors of its own, so a
middleware that raises another error ends the request.
"""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp


class AttemptFailed(Exception):
    """The attempt failed with `error`, which may quote the URL, so this text does not."""

    def __init__(self, error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class SingleAttempt:
    """The middleware and the trace context of one request."""

    def __init__(self) -> None:
        self._started = False
        #: False: not a byte of the request has been written.
        self.may_have_left = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._started:
            raise AttemptFailed(RuntimeError("a second attempt"))
        self._started = True
        try:
            return await handler(request)
        except Exception as error:
            raise AttemptFailed(error) from None


def single_attempt_trace() -> aiohttp.TraceConfig:
    """A trace that tells each request's `SingleAttempt`, its context, before the first byte is written."""

    async def on_headers(
        _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        context.trace_request_ctx.may_have_left = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(on_headers)
    return trace
