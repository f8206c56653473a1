"""The public port: takes the provider's requests, and answers each when what it brought is safe.

It decides what each outcome is called in HTTP. What a request means is decided in `gateway.parsing.postback`,
where it is kept in the `gateway.sink` it is given; who is let in, in `gateway.auth.accounts`, `forwarded` and
`rates`. Low-level on purpose: one function stands between aiohttp's parser and ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from time import perf_counter

import structlog
from aiohttp import HttpVersion11, hdrs, web

from gateway.auth.accounts import Accounts
from gateway.auth.networks import Network
from gateway.auth.rate_limit import RateLimiter
from gateway.http.connection import RequestTimeout
from gateway.http.proxy_headers import client_address
from gateway.http.response import NO_HEADERS, RETRY_AFTER_SECONDS, TextResponse
from gateway.parsing.postback import parse
from gateway.parsing.request import KEPT_HEADERS, RawRequest
from gateway.parsing.text import decode_text
from gateway.parsing.values import time_of
from gateway.postback import REJECTED, TOPIC_OF, encode, key_of
from gateway.rejected import NotAPostback, rejected
from gateway.sink import Durability, Sink, Unavailable
from runtime.metrics import REJECTIONS as REJECTIONS
from runtime.metrics import REQUEST_BYTES, REQUEST_SECONDS, REQUESTS

PATH = "/postback"
HEALTH_PATH = "/healthz"
ANSWER_OF = {Durability.REPLICATED: 200, Durability.SPOOLED: 202}
_requests = cache(REQUESTS.labels)  # which looks them up each time, under a lock
_KEPT = frozenset(name.encode() for name in KEPT_HEADERS)
TYPE_OF = {struct: topic.removeprefix("postbacks.") for struct, topic in TOPIC_OF.items()}

log = structlog.get_logger(__name__)


class TooLarge(Exception):
    """A body over the limit."""


class Gateway:
    """The handler of all requests to the public port, for `aiohttp.web.Server`."""

    def __init__(
        self,
        accounts: Accounts,
        proxies: Sequence[Network],
        sink: Sink,
        body_limit: int,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """
        Args:
            accounts: may be replaced at any time.
            proxies: whose X-Forwarded-For is believed.
            clock: gives seconds since 1970.
            new_id: gives what nobody else was ever given.
        """
        self.accounts = accounts
        self._proxies = proxies
        self._rates = RateLimiter()
        self._sink = sink
        self._body_limit = body_limit
        self._clock = clock
        self._new_id = new_id

    async def __call__(self, request: web.BaseRequest) -> TextResponse:
        """The answer, once what the request brought is safe or is known not to be."""
        began = perf_counter()
        path = request.rel_url.raw_path
        if path == HEALTH_PATH:
            return self._health(request.method)
        kind, response = await self._answer(request, path)
        _requests(kind, response.status).inc()
        REQUEST_SECONDS.observe(perf_counter() - began)
        return response

    async def _answer(self, request: web.BaseRequest, path: str) -> tuple[str, TextResponse]:
        """What it was, for the metric, and the answer to it."""
        client = client_address(
            request.remote or "", request.headers.getall(hdrs.X_FORWARDED_FOR, ()), self._proxies
        )
        # An unknown path is looked up like a token, so that neither answer nor time tells them apart.
        account = self.accounts.admitted(_token(path), client, self._clock())
        if account is None:
            return "unknown", _final(request, 404, "Not found")
        if request.method != hdrs.METH_POST:
            return "unknown", _final(request, 405, "Postbacks come by POST", {hdrs.ALLOW: hdrs.METH_POST})
        if seconds := self._rates.wait(account, perf_counter()):
            wait = str(math.ceil(seconds))
            return "unknown", _final(request, 429, "More than the account's rate", {hdrs.RETRY_AFTER: wait})
        try:
            body = await self._body(request)
        except RequestTimeout:
            return "unknown", _final(request, 408, "The request did not come to its end in time")
        except TooLarge:
            return "unknown", _final(request, 413, f"More than {self._body_limit} bytes")
        except (web.RequestPayloadError, ConnectionError):
            return "unknown", _final(request, 400, "The body broke off")
        return await self._take(
            RawRequest(
                account=account.name,
                query=_as_text(request.rel_url.raw_query_string),
                headers=_kept_headers(request.raw_headers),
                body=body,
                client_ip=client,
                received_at=time_of(self._clock()),
                method=request.method,
            )
        )

    async def _body(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > self._body_limit:
            raise TooLarge
        expects = request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
        if expects and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself has not begun
        body = b""
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > self._body_limit:
                raise TooLarge
        REQUEST_BYTES.inc(len(body))
        return body

    async def _take(self, arrival: RawRequest) -> tuple[str, TextResponse]:
        try:
            postback = parse(arrival)
        except NotAPostback as why:
            return "rejected", await self._reject(arrival, why)
        except Exception:  # a fault of ours: the arrival waits among the rejected for a better parser
            log.exception("An arrival could not be parsed")
            return "rejected", await self._reject(arrival, NotAPostback("failure", "It could not be read"))
        struct = type(postback)
        try:
            kept = await self._sink.keep(
                TOPIC_OF[struct], key_of(postback.account, postback.message_id), encode(postback)
            )
        except Unavailable as why:
            return TYPE_OF[struct], _later(why)
        return TYPE_OF[struct], TextResponse(ANSWER_OF[kept], "Kept")

    async def _reject(self, arrival: RawRequest, why: NotAPostback) -> TextResponse:
        record = rejected(arrival, why.reason, self._new_id())
        REJECTIONS.labels("gateway", why.reason).inc()
        try:
            await self._sink.keep(REJECTED, record.rejection_id.encode(), encode(record))
        except Unavailable as not_kept:
            return _later(not_kept)
        return TextResponse(400, str(why))

    def _health(self, method: str) -> TextResponse:
        if method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return TextResponse(405, "Only GET", {hdrs.ALLOW: hdrs.METH_GET})
        return TextResponse(503 if self._sink.away else 200, "away" if self._sink.away else "ok")


def _token(path: str) -> str:
    """The token in the path of a postback; of another path something that is no token."""
    base, token = path[: len(PATH)], path[len(PATH) :]
    return token.strip("/") if base == PATH and token[:1] in ("", "/") else path


def _kept_headers(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(decode_text(name), decode_text(value)) for name, value in raw if name.lower() in _KEPT]


def _as_text(query: str) -> str:
    """Bytes that are not UTF-8 came through aiohttp as surrogates, which JSON cannot have."""
    return query if query.isascii() else decode_text(query.encode(errors="surrogateescape"))


def _later(why: Unavailable) -> TextResponse:
    log.debug("Not kept", why=str(why))
    return TextResponse(503, "Not now, try again", {hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS})


def _final(
    request: web.BaseRequest, status: int, text: str, headers: Mapping[str, str] = NO_HEADERS
) -> TextResponse:
    """An answer that does not wait for the body: whoever holds it back need not send it any more."""
    response = TextResponse(status, text, headers)
    if not request.content.is_eof():
        response.force_close()
    return response
