"""Lookups of contacts at a gateway, and its tokens."""

from __future__ import annotations

import time
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


async def fresh_answer(address: str, **arguments: str) -> dict[str, Any]:
    """Look up until there is an answer whose `as_of` is not before this call."""
    called = time_of(time.time())

    async def answer() -> dict[str, Any]:
        response = await look_up(address, **arguments)  # 503 also if ClickHouse is too busy to answer in time
        return dict(json.decode(response.body)) if response.status == 200 else {"as_of": ""}

    return dict(await eventually(answer, "a fresh answer", lambda found: found["as_of"] > called))
