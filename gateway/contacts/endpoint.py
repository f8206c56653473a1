"""Handles `GET /contact/NUMBER`: authenticate, limit, look up, respond.

A verdict is only given with the time up to which it is complete, and never guessed: without both, 503.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter
from types import MappingProxyType
from urllib.parse import unquote

import structlog
from aiohttp import hdrs, web
from msgspec import json

from gateway.auth.accounts_file import AccountStore
from gateway.auth.rate_limit import RateLimiter
from gateway.contacts.freshness import Freshness
from gateway.contacts.query import find_signals
from gateway.http.response import JSON, TextResponse, final_response
from gateway.parsing.values import time_of
from runtime.clickhouse.errors import ClickHouseUnavailable
from runtime.clickhouse.lookup_client import LookupClient
from runtime.phone_number import canonical
from runtime.verdict import Policy, judge

CONTACT_PATH = "/contact/"
FROM = "from"
#: What may stand in a phone number, and how many digits it has: a short code to E.164.
_NUMBER = re.compile(r"[0-9\s().+-]+", re.ASCII)
MIN_DIGITS, MAX_DIGITS = 3, 15
#: Seconds until a retry may find ClickHouse, or `as_of`.
RETRY_AFTER_SECONDS = "1"
#: Verdicts change, and are about persons.
_NO_STORE: Mapping[str, str] = MappingProxyType({hdrs.CACHE_CONTROL: "no-store"})
UNKNOWN, CONTACT = "unknown", "contact"
#: Seconds between two warnings about failed lookups, at least.
WARNING_INTERVAL = 60.0

log = structlog.get_logger(__name__)


class ContactEndpoint:
    """Responds to lookups of accounts with a read token. Run `run` meanwhile."""

    def __init__(
        self,
        accounts: AccountStore,
        client: LookupClient,
        freshness: Freshness,
        policy: Policy,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            clock: seconds since 1970.
        """
        self._accounts = accounts
        self._client = client
        self._freshness = freshness
        self._policy = policy
        self._clock = clock
        self._rates = RateLimiter()
        self._warned_at = -math.inf

    async def run(self) -> None:
        """Keep `as_of` up to date until cancelled; without read tokens from the first lookup on."""
        try:
            if not self._accounts.readers.names:  # a reload may bring some
                await self._freshness.wait_wanted()
            with suppress(Exception):  # connects: the first lookup would have no time for it
                await find_signals(self._client, "", "")
            await self._freshness.run()
        finally:
            await self._client.close()

    async def respond(self, request: web.BaseRequest, client: str) -> tuple[str, TextResponse]:
        """The type of the request, for the metric, and the response.

        Args:
            client: the client's IP address.
        """
        token = _bearer(request.headers.get(hdrs.AUTHORIZATION, ""))
        account = self._accounts.readers.authenticate(token, client, self._clock())
        if account is None:  # as for an unknown path: neither response nor time tells them apart
            return UNKNOWN, final_response(request, 404, "Not found")
        if request.method != hdrs.METH_GET:
            return CONTACT, final_response(request, 405, "Only GET is allowed", {hdrs.ALLOW: hdrs.METH_GET})
        if seconds := self._rates.retry_after(account, perf_counter()):
            headers: dict[str, str] = {hdrs.RETRY_AFTER: str(math.ceil(seconds))}
            return CONTACT, final_response(request, 429, "More than the account's rate", headers)
        number = unquote(request.rel_url.raw_path[len(CONTACT_PATH) :])
        own_number = request.rel_url.query.get(FROM, "")
        if not _is_number(number):
            return CONTACT, TextResponse(400, "The path must end in a phone number", _NO_STORE)
        if own_number and not _is_number(own_number):
            return CONTACT, TextResponse(400, f"{FROM} must be a phone number", _NO_STORE)
        return CONTACT, await self._look_up(account.name, canonical(number), own_number)

    async def _look_up(self, account: str, number: str, own_number: str) -> TextResponse:
        self._freshness.want()
        as_of = self._freshness.as_of  # before the query, which then has everything up to it
        if as_of is None:
            return _unavailable("It is not known how fresh contacts are, try again")
        try:
            signals = await find_signals(self._client, account, number)
        except ClickHouseUnavailable as error:
            self._warn(str(error))
            return _unavailable("ClickHouse did not answer in time, try again")
        verdict = judge(signals, own_number, self._policy)
        decided = verdict.since is not None
        found = {
            "account": account,
            "number": number,
            "verdict": verdict.verdict,
            "since": verdict.since,
            "words": verdict.words if decided else None,
            "own_number": verdict.own_number if decided else None,
            "as_of": time_of(as_of),
        }
        return TextResponse(200, json.encode(found).decode(), _NO_STORE, JSON)

    def _warn(self, reason: str) -> None:
        """Log why lookups fail; not each of them."""
        now = perf_counter()
        if now - self._warned_at >= WARNING_INTERVAL:
            self._warned_at = now
            log.warning("Contacts not looked up, responding 503", reason=reason)


def _bearer(authorization: str) -> str:
    """The token of the header; empty, which no token is, if it has none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_number(text: str) -> bool:
    """Whether it is a phone number; with a prefix for dialling (00, 011), it is not in canonical form."""
    digits = [character for character in text if character.isdigit()]
    return bool(_NUMBER.fullmatch(text)) and MIN_DIGITS <= len(digits) <= MAX_DIGITS and digits[0] != "0"


def _unavailable(text: str) -> TextResponse:
    return TextResponse(503, text, {**_NO_STORE, hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS})
