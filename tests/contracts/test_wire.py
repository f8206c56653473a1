"""The provider's requests byte by byte, over a raw socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from gateway.postback import RECEIPT as RECEIPTS
from gateway.postback import REJECTED
from gateway.postback import RESPONSE as RESPONSES
from gateway.postback import SENT as SENDS
from tests.support.gateway import Connection, RunningGateway, connection, kept, open_gateway, post, request
from tests.support.kafka_reset import wipe
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


def of(body: bytes, reference: str) -> bytes:
    """The packet with a ReferenceID of its own, by which the test finds it again."""
    return body.replace(b"ReferenceID=12345", b"ReferenceID=").replace(
        b"ReferenceID=", b"ReferenceID=" + reference.encode()
    )


async def exchange(wire: Connection, body: bytes) -> int:
    """As the provider does it: the head, wait for leave to go on, the body; the answer's status."""
    await wire.send(head(body))
    assert await wire.head() == CONTINUE
    await wire.send(body)
    return (await wire.answer()).status


@pytest.mark.parametrize(("packet", "topic"), [(SENT, SENDS), (RESPONSE, RESPONSES), (RECEIPT, RECEIPTS)])
async def test_a_printed_packet_is_kept_as_it_came(
    gateway: RunningGateway, kafka: str, reference: str, packet: bytes, topic: str
) -> None:
    body = of(packet, reference)
    async with connection(gateway.address) as wire:
        assert await exchange(wire, body) == 200
    found, key, value = await kept(kafka, reference_id=reference)
    assert (found, value["body"]) == (topic, body.decode())
    assert key.decode() == f"default/{value['message_id']}"
    assert value["client_ip"] == "127.0.0.1"


async def test_one_connection_carries_one_postback_after_another(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    async with connection(gateway.address) as wire:
        for number, packet in enumerate((SENT, RESPONSE, RECEIPT)):
            assert await exchange(wire, of(packet, f"{reference}-{number}")) == 200
    for number in range(3):
        await kept(kafka, reference_id=f"{reference}-{number}")


async def test_requests_may_come_before_the_answers(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    bodies = [of(packet, f"{reference}-{number}") for number, packet in enumerate((SENT, RECEIPT))]
    async with connection(gateway.address) as wire:
        await wire.send(
            b"".join(head(body).replace(b"Expect: 100-continue\r\n", b"") + body for body in bodies)
        )
        assert [(await wire.answer()).status for _ in bodies] == [200, 200]
    for number in range(2):
        await kept(kafka, reference_id=f"{reference}-{number}")


async def test_a_body_may_come_without_waiting_for_leave(gateway: RunningGateway, reference: str) -> None:
    async with connection(gateway.address) as wire:
        await wire.send(head(body := of(RECEIPT, reference)) + body)
        assert await wire.head() == CONTINUE
        assert (await wire.answer()).status == 200


async def test_a_body_may_trickle_or_come_in_chunks(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    body = of(RECEIPT, reference)
    async with connection(gateway.address) as wire:
        await wire.send(b"POST /postback HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (body[:100], body[100:101], body[101:]):
            await wire.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        await wire.send(b"0\r\n\r\n")
        assert (await wire.answer()).status == 200
    _, _, value = await kept(kafka, reference_id=reference)
    assert value["body"] == body.decode()


async def test_the_fields_may_be_in_the_url_or_in_headers(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    url = f"/postback?SMSSent=1&MessageID={uuid4()}&ReferenceID={reference}-u"
    assert (await post(gateway.address, b"", url)).status == 200
    lines = f"smssent: 1\r\nMESSAGEID: {uuid4()}\r\nReferenceID: {reference}-h\r\nContent-Length: 0\r\n\r\n"
    raw = f"POST /postback HTTP/1.1\r\nHost: x\r\n{lines}".encode()
    assert (await request(gateway.address, raw)).status == 200
    _, _, value = await kept(kafka, reference_id=f"{reference}-u")
    assert value["query"] == url.partition("?")[2]
    _, _, value = await kept(kafka, reference_id=f"{reference}-h")
    assert value["headers"].keys() == {"smssent", "MESSAGEID", "ReferenceID"}  # type: ignore[attr-defined]


async def test_what_is_no_postback_is_told_why_and_kept(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    body = b"Hello=1&\xff=" + reference.encode()
    raw = (
        f"POST /postback?tag={reference} HTTP/1.1\r\nHost: x\r\nUser-Agent: CDYNE SMSv2\r\nCookie: secret\r\n"
        f"Content-Type: text/plain\r\nCode: 7\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = await request(gateway.address, raw.encode() + body)
    assert answer.status == 400
    assert answer.body == b"There is no SMSSent, SMSResponse or DeliveryReceipt in it\n"
    topic, key, value = await kept(kafka, query=f"tag={reference}")
    assert (topic, value["reason"], key.decode()) == (REJECTED, "no_type", value["rejection_id"])
    assert value["headers"] == {"User-Agent": "CDYNE SMSv2", "Content-Type": "text/plain", "Code": "7"}
    assert "body" not in value
    assert value["body_base64"]


async def test_who_does_not_wait_for_the_answer_is_served_all_the_same(
    gateway: RunningGateway, kafka: str, reference: str
) -> None:
    async with connection(gateway.address) as wire:
        body = of(SENT, reference)
        await wire.send(head(body).replace(b"Expect: 100-continue\r\n", b"") + body)
        await wire.close()
    await kept(kafka, reference_id=reference)


async def test_a_body_over_the_limit_is_not_waited_for(gateway: RunningGateway) -> None:
    async with connection(gateway.address) as wire:
        await wire.send(head(b"x" * 65_537))
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
    chunked = b"POST /postback HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n"
    assert (await request(gateway.address, chunked + b"x" * 65_536 + b"\r\n1\r\nx\r\n")).status == 413


async def test_a_body_at_the_limit_is_kept(gateway: RunningGateway, kafka: str, reference: str) -> None:
    """Of bytes that take six each in JSON, twice: the largest record there is."""
    start = of(RESPONSE, reference)
    body = start + b"\x01" * (65_536 - len(start))
    assert (await post(gateway.address, body)).status == 200
    _, _, value = await kept(kafka, reference_id=reference)
    assert value["body"] == body.decode()


async def test_only_post_brings_postbacks(gateway: RunningGateway) -> None:
    answer = await request(gateway.address, b"GET /postback?SMSSent=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_health_is_two_words(gateway: RunningGateway) -> None:
    answer = await request(gateway.address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.status, answer.body) == (200, b"ok\n")


@pytest.mark.parametrize(
    "path", ["/", "/postbacks", "/postback/some-token", "//postback", "/postback/../healthz"]
)
async def test_there_is_nothing_else(gateway: RunningGateway, path: str) -> None:
    assert (await post(gateway.address, SENT, path)).status == 404


@pytest.mark.parametrize(
    "raw", [b"\x00\r\n\r\n", b"POST /postback\r\n\r\n", b"POST / HTTP/1.1\r\nA B: c\r\n\r\n"]
)
async def test_what_is_no_http_is_refused_and_hurts_nobody(gateway: RunningGateway, raw: bytes) -> None:
    assert (await request(gateway.address, raw)).status == 400
    assert (await post(gateway.address, SENT)).status == 200


async def test_a_token_names_the_account_and_others_find_nothing(kafka: str, reference: str) -> None:
    with open_gateway(kafka, tokens=f"acme={TOKEN}") as gateway:
        assert (await post(gateway.address, of(SENT, reference), f"/postback/{TOKEN}?a=1")).status == 200
        _, key, value = await kept(kafka, reference_id=reference)
        assert value["account"] == "acme"
        assert key.startswith(b"acme/")
        assert TOKEN not in str(value)

        strangers = [
            f"/postback/{TOKEN}x",
            f"/postback/{TOKEN[:-1]}",
            "/postback",
            f"/postback{TOKEN}",
            "/else",
        ]
        answers = [await post(gateway.address, SENT, path) for path in strangers]
        assert {answer.status for answer in answers} == {404}
        assert len({(answer.body, *(answer.headers.keys() - {"date"})) for answer in answers}) == 1
        async with connection(gateway.address) as wire:
            await wire.send(head(SENT, "/postback/some-other-token"))
            status, _ = await wire.head()
            assert status == 404  # without asking for the body first
