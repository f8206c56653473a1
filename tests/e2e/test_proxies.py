"""Postbacks through the TLS proxies of docs/deploying.md: they arrive, and secrets are not logged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from gateway.submission import SUBMISSIONS
from tests.support.answers import answer, as_json
from tests.support.engines import Engines
from tests.support.gateway import RunningGateway, find_record, free_address, open_gateway
from tests.support.kafka import wipe
from tests.support.proxies import NAME, RunningProxy, open_proxy, unavailable_reason
from tests.support.samples import RECEIPT, RESPONSE, SENT, head

TOKEN = "a-secret-token"
PATH = f"/postback/{TOKEN}?key=a-secret-query"


@pytest.fixture(scope="module")
def gateway(kafka: str) -> Iterator[RunningGateway]:
    asyncio.run(wipe(kafka))
    with open_gateway(kafka, tokens=f"acme={TOKEN}", proxies="127.0.0.1/32") as gateway:
        yield gateway


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest,
    engines: Engines,
    gateway: RunningGateway,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningProxy]:
    """A proxy before two gateways, of which the second is down."""
    name: str = request.param
    engine = f"TLS proxy: {name}"
    if reason := unavailable_reason(name):
        engines.skip(engine, reason)
    engines.used.add(engine)
    with open_proxy(name, [gateway.address, free_address()], tmp_path_factory.mktemp(name)) as proxy:
        yield proxy


def with_reference(body: bytes) -> tuple[bytes, str]:
    """The body with a unique ReferenceID, to find its record."""
    reference = uuid4().hex
    return body.replace(b"ReferenceID=12345", b"ReferenceID=").replace(
        b"ReferenceID=", b"ReferenceID=" + reference.encode()
    ), reference


@pytest.mark.parametrize("sample", [SENT, RESPONSE, RECEIPT], ids=["sent", "response", "receipt"])
async def test_postback_arrives_unchanged(kafka: str, proxy: RunningProxy, sample: bytes) -> None:
    body, reference = with_reference(sample)
    async with proxy.connection() as wire:
        await wire.send(head(body, PATH, NAME))
        assert (await wire.head())[0] == 100
        await wire.send(body)
        assert (await wire.response()).status == 200
    _, _, value = await find_record(kafka, reference_id=reference)
    assert str(value["body"]).encode() == body
    assert value["query"] == PATH.partition("?")[2]
    assert value["account"] == "acme"


async def test_submission_arrives_unchanged(kafka: str, proxy: RunningProxy) -> None:
    body = as_json(answer(ReferenceID=(reference := uuid4().hex)))
    async with proxy.connection() as wire:
        await wire.send(head(body, f"/submission/{TOKEN}", NAME))
        assert (await wire.head())[0] == 100
        await wire.send(body)
        assert (await wire.response()).status == 200
    topic, _, value = await find_record(kafka, reference_id=reference)
    assert (topic, str(value["body"]).encode()) == (SUBMISSIONS, body)


async def test_postbacks_sent_byte_by_byte_share_a_connection(kafka: str, proxy: RunningProxy) -> None:
    async with proxy.connection() as wire:
        for _ in range(3):
            body, reference = with_reference(RECEIPT)
            for byte in head(body, PATH, NAME):
                await wire.send(bytes([byte]))
            assert (await wire.head())[0] == 100
            for byte in body:
                await wire.send(bytes([byte]))
            assert (await wire.response()).status == 200
            await find_record(kafka, reference_id=reference)


async def test_forged_forwarded_address_is_ignored(kafka: str, proxy: RunningProxy) -> None:
    body, reference = with_reference(SENT)
    forged = head(body, PATH, NAME).replace(b"\r\nHost", b"\r\nX-Forwarded-For: 203.0.113.9\r\nHost")
    async with proxy.connection(source="127.0.0.3") as wire:
        await wire.send(forged)
        assert (await wire.head())[0] == 100
        await wire.send(body)
        assert (await wire.response()).status == 200
    _, _, value = await find_record(kafka, reference_id=reference)
    assert value["client_ip"] == "127.0.0.3"


async def test_body_over_the_limit_is_refused(proxy: RunningProxy) -> None:
    assert await status_of(proxy, b"x" * 70_000) == 413


@pytest.mark.parametrize(
    "path", ["/", "/postback", "/submission", "/metrics", "/healthz", f"/{TOKEN}", f"/x/{TOKEN}"]
)
async def test_other_paths_are_not_found(proxy: RunningProxy, path: str) -> None:
    async with proxy.connection() as wire:
        await wire.send(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        assert (await wire.response()).status == 404


async def test_no_secret_is_logged_even_on_errors(
    proxy: RunningProxy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = "nginx" if (proxy.home / "nginx.conf").exists() else "caddy"
    home = tmp_path_factory.mktemp("down")
    with open_proxy(name, [free_address(), free_address()], home) as down:
        assert await status_of(proxy, b"") == 400
        assert await status_of(down, SENT) == 502
        for each in (proxy, down):
            assert "a-secret" not in await each.wait_for_log("127.0.0.2")


async def status_of(proxy: RunningProxy, body: bytes) -> int:
    """The answer to a client that does not ask first."""
    async with proxy.connection() as wire:
        await wire.send(head(body, PATH, NAME).replace(b"Expect: 100-continue\r\n", b"") + body)
        return (await wire.response()).status
