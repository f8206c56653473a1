"""Requests over a raw socket, byte by byte as the provider sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from gateway.postback import RECEIPT as RECEIPTS
from gateway.postback import RESPONSE as RESPONSES
from gateway.postback import SENT as SENDS
from gateway.rejected import REJECTED
from tests.support.gateway import (
    Connection,
    RunningGateway,
    connect,
    find_record,
    open_gateway,
    post,
    request,
)
from tests.support.kafka import wipe
from tests.support.samples import RECEIPT, RESPONSE, SENT, head

CONTINUE: tuple[int, dict[str, str]] = (100, {})
TOKEN = "a-token-of-acme"


@pytest.fixture(scope="module")
def gateway(kafka: str) -> Iterator[RunningGateway]:
    asyncio.run(wipe(kafka))
    with open_gateway(kafka) as gateway:
        yield gateway


@pytest.fixture
def reference() -> str:
    return uuid4().hex


def with_reference(body: bytes, reference: str) -> bytes:
    """Replace the ReferenceID, by which the test finds the record."""
    return body.replace(b"ReferenceID=12345", b"ReferenceID=").replace(
        b"ReferenceID=", b"ReferenceID=" + reference.encode()
    )


async def exchange(wire: Connection, body: bytes) -> int:
    """Post as the provider does: head, wait for 100 Continue, body. Returns the response's status."""
    await wire.send(head(body))
    assert await wire.head() == CONTINUE
    await wire.send(body)
    return (await wire.response()).status


@pytest.mark.parametrize(("sample", "topic"), [(SENT, SENDS), (RESPONSE, RESPONSES), (RECEIPT, RECEIPTS)])
async def test_documented_requests_are_stored_as_received(
    gateway: RunningGateway, kafka: str, reference: str, sample: bytes, topic: str
) -> None:
    body = with_reference(sample, reference)
    async with connect(gateway.address) as wire:
        assert await exchange(wire, body) == 200
    found, key, value = await find_record(kafka, reference_id=reference)
    assert (found, value["body"]) == (topic, body.decode())
    assert key.decode() == f"default/{value['message_id']}"
    assert value["client_ip"] == "127.0.0.1"


async def test_one_connection_carries_several_postbacks(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    async with connect(gateway.address) as wire:
        for number, sample in enumerate((SENT, RESPONSE, RECEIPT)):
            assert await exchange(wire, with_reference(sample, f"{reference}-{number}")) == 200
    for number in range(3):
        await find_record(kafka, reference_id=f"{reference}-{number}")


async def test_pipelined_requests_are_answered_in_order(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    bodies = [
        with_reference(sample, f"{reference}-{number}") for number, sample in enumerate((SENT, RECEIPT))
    ]
    async with connect(gateway.address) as wire:
        await wire.send(
            b"".join(head(body).replace(b"Expect: 100-continue\r\n", b"") + body for body in bodies)
        )
        assert [(await wire.response()).status for _ in bodies] == [200, 200]
    for number in range(2):
        await find_record(kafka, reference_id=f"{reference}-{number}")


async def test_body_may_be_sent_without_waiting_for_continue(gateway: RunningGateway, reference: str) -> None:
    async with connect(gateway.address) as wire:
        await wire.send(head(body := with_reference(RECEIPT, reference)) + body)
        assert await wire.head() == CONTINUE
        assert (await wire.response()).status == 200


async def test_chunked_bodies_are_accepted(gateway: RunningGateway, kafka: str, reference: str) -> None:
    body = with_reference(RECEIPT, reference)
    async with connect(gateway.address) as wire:
        await wire.send(b"POST /postback HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (body[:100], body[100:101], body[101:]):
            await wire.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        await wire.send(b"0\r\n\r\n")
        assert (await wire.response()).status == 200
    _, _, value = await find_record(kafka, reference_id=reference)
    assert value["body"] == body.decode()


async def test_fields_are_read_from_the_url_and_headers(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    url = f"/postback?SMSSent=1&MessageID={uuid4()}&ReferenceID={reference}-u"
    assert (await post(gateway.address, b"", url)).status == 200
    lines = f"smssent: 1\r\nMESSAGEID: {uuid4()}\r\nReferenceID: {reference}-h\r\nContent-Length: 0\r\n\r\n"
    raw = f"POST /postback HTTP/1.1\r\nHost: x\r\n{lines}".encode()
    assert (await request(gateway.address, raw)).status == 200
    _, _, value = await find_record(kafka, reference_id=f"{reference}-u")
    assert value["query"] == url.partition("?")[2]
    _, _, value = await find_record(kafka, reference_id=f"{reference}-h")
    assert value["headers"].keys() == {"smssent", "MESSAGEID", "ReferenceID"}  # type: ignore[attr-defined]


async def test_rejected_request_gets_its_reason_and_is_stored(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    body = b"Hello=1&\xff=" + reference.encode()
    raw = (
        f"POST /postback?tag={reference} HTTP/1.1\r\nHost: x\r\nUser-Agent: CDYNE SMSv2\r\nCookie: secret\r\n"
        f"Content-Type: text/plain\r\nCode: 7\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    response = await request(gateway.address, raw.encode() + body)
    assert response.status == 400
    assert response.body == b"There is no SMSSent, SMSResponse or DeliveryReceipt in it\n"
    topic, key, value = await find_record(kafka, query=f"tag={reference}")
    assert (topic, value["reason"], key.decode()) == (REJECTED, "no_type", value["rejection_id"])
    assert value["headers"] == {"User-Agent": "CDYNE SMSv2", "Content-Type": "text/plain", "Code": "7"}
    assert "body" not in value
    assert value["body_base64"]


async def test_postback_of_a_disconnected_client_is_stored(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    async with connect(gateway.address) as wire:
        body = with_reference(SENT, reference)
        await wire.send(head(body).replace(b"Expect: 100-continue\r\n", b"") + body)
        await wire.close()
    await find_record(kafka, reference_id=reference)


async def test_body_over_the_limit_gets_413_at_once(gateway: RunningGateway) -> None:
    async with connect(gateway.address) as wire:
        await wire.send(head(b"x" * 65_537))
        response = await wire.response()
        assert (response.status, response.headers["connection"]) == (413, "close")
    chunked = b"POST /postback HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n"
    assert (await request(gateway.address, chunked + b"x" * 65_536 + b"\r\n1\r\nx\r\n")).status == 413


async def test_body_at_the_limit_is_stored(gateway: RunningGateway, kafka: str, reference: str) -> None:
    """The largest possible record: bytes that take six each in JSON, stored raw and decoded."""
    start = with_reference(RESPONSE, reference)
    body = start + b"\x01" * (65_536 - len(start))
    assert (await post(gateway.address, body)).status == 200
    _, _, value = await find_record(kafka, reference_id=reference)
    assert value["body"] == body.decode()


async def test_get_is_not_allowed(gateway: RunningGateway) -> None:
    response = await request(gateway.address, b"GET /postback?SMSSent=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (response.status, response.headers["allow"]) == (405, "POST")


async def test_healthz_answers_ok(gateway: RunningGateway) -> None:
    response = await request(gateway.address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (response.status, response.body) == (200, b"ok\n")


@pytest.mark.parametrize(
    "path", ["/", "/postbacks", "/postback/some-token", "//postback", "/postback/../healthz"]
)
async def test_other_paths_are_not_found(gateway: RunningGateway, path: str) -> None:
    assert (await post(gateway.address, SENT, path)).status == 404


@pytest.mark.parametrize(
    "raw", [b"\x00\r\n\r\n", b"POST /postback\r\n\r\n", b"POST / HTTP/1.1\r\nA B: c\r\n\r\n"]
)
async def test_invalid_http_gets_400_and_others_are_served(gateway: RunningGateway, raw: bytes) -> None:
    assert (await request(gateway.address, raw)).status == 400
    assert (await post(gateway.address, SENT)).status == 200


async def test_token_identifies_the_account_and_others_get_404(fresh_kafka: str, reference: str) -> None:
    with open_gateway(fresh_kafka, tokens=f"acme={TOKEN}") as gateway:
        body = with_reference(SENT, reference)
        assert (await post(gateway.address, body, f"/postback/{TOKEN}?a=1")).status == 200
        _, key, value = await find_record(fresh_kafka, reference_id=reference)
        assert value["account"] == "acme"
        assert key.startswith(b"acme/")
        assert TOKEN not in str(value)

        others = [
            f"/postback/{TOKEN}x",
            f"/postback/{TOKEN[:-1]}",
            "/postback",
            f"/postback{TOKEN}",
            "/else",
        ]
        responses = [await post(gateway.address, SENT, path) for path in others]
        assert {response.status for response in responses} == {404}
        assert len({(response.body, *(response.headers.keys() - {"date"})) for response in responses}) == 1
        async with connect(gateway.address) as wire:
            await wire.send(head(SENT, "/postback/some-other-token"))
            status, _ = await wire.head()
            assert status == 404  # without 100 Continue first
