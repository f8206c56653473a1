"""Requests to `/contact/NUMBER`: which ones are admitted, and that no verdict is guessed."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from tests.support.contact_lookup import NUMBER, POSTING, READING, TOKENS, look_up
from tests.support.gateway import RunningGateway, free_address, open_gateway, request


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    """Without Kafka and ClickHouse, so that `as_of` is unknown."""
    nowhere = free_address()
    with open_gateway(
        nowhere, **TOKENS, clickhouse=f"http://{nowhere}/postbacks", ack_timeout=0.1
    ) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "authorization"),
    [
        (f"/contact/{NUMBER}", ""),
        (f"/contact/{NUMBER}", f"Bearer {POSTING}"),
        (f"/contact/{NUMBER}", f"Bearer {READING}x"),
        (f"/contact/{NUMBER}", f"Basic {READING}"),
        (f"/contact/{READING}", ""),
        (f"/contact/{POSTING}", ""),
        (f"/contact/{NUMBER}?token={READING}", ""),
        ("/contact", f"Bearer {READING}"),
        ("/contacts/1", f"Bearer {READING}"),
        (f"/postback/{READING}", f"Bearer {READING}"),
        (f"/submission/{READING}", f"Bearer {READING}"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_read_token_the_path_is_unknown(
    gateway: RunningGateway, method: str, path: str, authorization: str
) -> None:
    async def respond(path: str) -> tuple[int, bytes, dict[str, str]]:
        header = f"Authorization: {authorization}\r\n" if authorization else ""
        raw = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n{header}\r\nab"
        status, headers, body = await request(gateway.address, raw.encode())
        return status, body, {**headers, "date": ""}

    assert await respond(path) == await respond("/nowhere")
    assert (await respond(path))[0] == 404


@pytest.mark.parametrize(
    "number",
    [
        "75",
        "0117575550100",
        "00%201%20757%20555%200100",
        "7575550100x",
        "1234567890123456",
        "%D9%A1%D9%A2%D9%A3",
        "%00123",
        "123/4",
        "123%0a4x",
    ],
)
async def test_what_is_no_phone_number_gets_400(gateway: RunningGateway, number: str) -> None:
    assert (await look_up(gateway.address, number)).status == 400
    assert (await look_up(gateway.address, own_number=unquote(number))).status == 400
    assert (await look_up(gateway.address, "")).status == 400


async def test_other_methods_get_405(gateway: RunningGateway) -> None:
    response = await look_up(gateway.address, method="DELETE")
    assert (response.status, response.headers["allow"]) == (405, "GET")


async def test_unknown_as_of_gets_503(gateway: RunningGateway) -> None:
    response = await look_up(gateway.address)
    assert response.status == 503
    assert response.headers["retry-after"] == "1"
    assert response.headers["cache-control"] == "no-store"
