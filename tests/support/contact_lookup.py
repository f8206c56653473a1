"""Lookups of contacts at a gateway, and its tokens."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from msgspec import json

from gateway.parsing.values import time_of
from tests.support.gateway import HttpResponse, request
from tests.support.wait import eventually

POSTING, READING, OTHER_READING = "token-that-posts", "token-that-reads", "token-of-umbrella"
TOKENS = {"tokens": f"acme={POSTING}", "read_tokens": f"acme={READING},umbrella={OTHER_READING}"}
NUMBER = "7575550100"


async def look_up(
    address: str,
    number: str = NUMBER,
    own_number: str = "",
    token: str = READING,
    method: str = "GET",
) -> HttpResponse:
    """Send one request; `number` is part of the path as it is."""
    query = f"?{urlencode({'from': own_number})}" if own_number else ""
    head = f"{method} /contact/{number}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    return await request(address, head.encode())


async def wait_for_answer(address: str, after: float = 0.0, **arguments: str) -> dict[str, Any]:
    """Look up until there is an answer with an `as_of` after this time (seconds since 1970); return it."""

    async def found() -> dict[str, Any]:
        response = await look_up(address, **arguments)  # 503 also if ClickHouse is too busy to answer in time
        return dict(json.decode(response.body)) if response.status == 200 else {"as_of": ""}

    return dict(await eventually(found, "answered", lambda found: found["as_of"] > time_of(after)))
