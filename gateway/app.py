"""Handles the requests of the public port: authenticate, limit, read, parse, store, respond.

Decides the HTTP status of each outcome. Responds only once the postback is durable. Uses aiohttp's low-level
server: one function between its parser and ours. `gateway.contacts.endpoint` handles lookups of contacts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from time import perf_counter

import structlog
from aiohttp import HttpVersion11, hdrs, web

from gateway.auth.accounts_file import AccountStore
from gateway.auth.networks import Network
from gateway.auth.rate_limit import RateLimiter
from gateway.contacts.endpoint import CONTACT, CONTACT_PATH, ContactEndpoint
from gateway.http.connection import TIMED_OUT, RequestTimeout
from gateway.http.proxy_headers import client_address
from gateway.http.response import RETRY_AFTER_SECONDS, TextResponse, final_response
from gateway.parsing.postback import parse
from gateway.parsing.request import STORED_HEADERS, RawRequest
from gateway.parsing.values import decode_text, time_of
from gateway.postback import TOPIC_OF, encode, postback_key
from gateway.rejected import REJECTED, NotAPostback, reject_request
from gateway.sink import Durability, Sink, Unavailable
from gateway.store_answers import store_answers
from runtime.metrics import REJECTIONS, REQUEST_BYTES, REQUEST_SECONDS, REQUESTS

PATH, SUBMISSION_PATH = "/postback", "/submission"
HEALTH_PATH = "/healthz"
STATUS_OF = {Durability.REPLICATED: 200, Durability.SPOOLED: 202}
TYPE_OF = {struct: topic.removeprefix("postbacks.") for struct, topic in TOPIC_OF.items()}
_request_counter = cache(REQUESTS.labels)  # cached, as the lookup takes a lock
_STORED_HEADERS = frozenset(name.encode() for name in STORED_HEADERS)

log = structlog.get_logger(__name__)


class BodyTooLarge(Exception):
    """The body exceeds the limit."""


class Gateway:
    """The request handler, for `gateway.http.server`."""

    def __init__(
        self,
        accounts: AccountStore,
        proxies: Sequence[Network],
        sink: Sink,
        body_limit: int,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        contacts: ContactEndpoint | None = None,
    ) -> None:
        """
        Args:
            proxies: networks whose X-Forwarded-For is trusted.
            body_limit: bytes.
            clock: seconds since 1970.
            new_id: returns a unique id for each rejection.
            contacts: None: its path is unknown.
        """
        self._accounts = accounts
        self._proxies = proxies
        self._rates = RateLimiter()
        self._sink = sink
        self._body_limit = body_limit
        self._clock = clock
        self._new_id = new_id
        self._contacts = contacts

    async def __call__(self, request: web.BaseRequest) -> TextResponse:
        """Respond once all that the request brings is durable, or known not to be."""
        began = perf_counter()
        path = request.rel_url.raw_path
        if path == HEALTH_PATH:
            return self._health(request.method)
        kind, response = await self._respond(request, path)
        _request_counter(kind, response.status).inc()
        if kind != CONTACT:  # it waits for ClickHouse: the histogram is about postbacks
            REQUEST_SECONDS.observe(perf_counter() - began)
        return response

    async def _respond(self, request: web.BaseRequest, path: str) -> tuple[str, TextResponse]:
        """The type of the request, for the metric, and the response."""
        client = client_address(
            request.remote or "", request.headers.getall(hdrs.X_FORWARDED_FOR, ()), self._proxies
        )
        if self._contacts and path.startswith(CONTACT_PATH):
            return await self._contacts.respond(request, client)
        # An unknown path is looked up like a token: neither response nor time tells them apart.
        base, token = _split(path)
        account = self._accounts.current.authenticate(token, client, self._clock())
        if account is None:
            return "unknown", final_response(request, 404, "Not found")
        if request.method != hdrs.METH_POST:
            return "unknown", final_response(
                request, 405, "Only POST is allowed", {hdrs.ALLOW: hdrs.METH_POST}
            )
        if seconds := self._rates.retry_after(account, perf_counter()):
            wait = str(math.ceil(seconds))
            return "unknown", final_response(
                request, 429, "More than the account's rate", {hdrs.RETRY_AFTER: wait}
            )
        try:
            body = await self._read_body(request)
        except RequestTimeout:
            return "unknown", final_response(request, 408, TIMED_OUT)
        except BodyTooLarge:
            return "unknown", final_response(request, 413, f"More than {self._body_limit} bytes")
        except (web.RequestPayloadError, ConnectionError):
            return "unknown", final_response(request, 400, "The body broke off")
        store = self._store_answers if base == SUBMISSION_PATH else self._store
        return await store(
            RawRequest(
                account=account.name,
                query=_valid_text(request.rel_url.raw_query_string),
                headers=_stored_headers(request.raw_headers),
                body=body,
                client_ip=client,
                received_at=time_of(self._clock()),
                method=request.method,
            )
        )

    async def _read_body(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > self._body_limit:
            raise BodyTooLarge
        expects = request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
        if expects and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the response itself has not begun
        body = b""
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > self._body_limit:
                raise BodyTooLarge
        REQUEST_BYTES.inc(len(body))
        return body

    async def _store(self, request: RawRequest) -> tuple[str, TextResponse]:
        try:
            postback = parse(request)
        except NotAPostback as error:
            return "rejected", await self._reject(request, error)
        except Exception:  # a bug: the rejection can be replayed with a fixed parser
            log.exception("Parser failed, request rejected")
            return "rejected", await self._reject(request, NotAPostback("failure", "It could not be read"))
        struct = type(postback)
        try:
            durability = await self._sink.put(TOPIC_OF[struct], postback_key(postback), encode(postback))
        except Unavailable as error:
            return TYPE_OF[struct], _unavailable(error)
        return TYPE_OF[struct], TextResponse(STATUS_OF[durability], "Kept")

    async def _store_answers(self, request: RawRequest) -> tuple[str, TextResponse]:
        try:
            stored = await store_answers(request, self._sink, self._new_id)
        except Unavailable as error:
            return "submission", _unavailable(error)
        if stored.durability is None:
            return "rejected", TextResponse(400, stored.text)
        return "submission", TextResponse(STATUS_OF[stored.durability], stored.text)

    async def _reject(self, request: RawRequest, error: NotAPostback) -> TextResponse:
        rejected = reject_request(request, error.reason, self._new_id())
        REJECTIONS.labels("gateway", error.reason).inc()
        try:
            await self._sink.put(REJECTED, rejected.rejection_id.encode(), encode(rejected))
        except Unavailable as unavailable:
            return _unavailable(unavailable)
        return TextResponse(400, str(error))

    def _health(self, method: str) -> TextResponse:
        if method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return TextResponse(405, "Only GET", {hdrs.ALLOW: hdrs.METH_GET})
        return TextResponse(503, "away") if self._sink.unavailable_reason else TextResponse(200, "ok")


def _split(path: str) -> tuple[str, str]:
    """The endpoint and the token of a path. An unknown path is its own token, which is not a valid one."""
    for base in (PATH, SUBMISSION_PATH):
        rest = path[len(base) :]
        if path.startswith(base) and rest[:1] in ("", "/"):
            return base, rest.strip("/")
    return "", path


def _stored_headers(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(decode_text(name), decode_text(value)) for name, value in raw if name.lower() in _STORED_HEADERS]


def _valid_text(query: str) -> str:
    """Decode bytes that are not UTF-8: aiohttp leaves them as surrogates, which JSON does not allow."""
    return query if query.isascii() else decode_text(query.encode(errors="surrogateescape"))


def _unavailable(error: Unavailable) -> TextResponse:
    log.debug("Request not stored", error=str(error))
    return TextResponse(503, "Not now, try again", {hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS})
