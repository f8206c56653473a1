"""Admission to the public port: tokens, rates, timeouts, connection limits, TLS."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import trustme

from runtime.process import DONE, REFUSED
from tests.support.gateway import (
    Connection,
    HttpResponse,
    RunningGateway,
    connect,
    find_record,
    form_request,
    free_address,
    open_gateway,
    request,
    sent_form,
    wait_for_status,
)
from tests.support.process import run_module
from tests.support.wait import eventually

TIMEOUT = 60.0
REQUEST_TIMEOUT = 1.0
ACME = "[acme]\ntokens = ['first-token']\n"


async def post_to(gateway: RunningGateway, token: str, *headers: str, body: bytes = b"") -> HttpResponse:
    lines = "".join(f"{header}\r\n" for header in headers)
    raw = form_request(body or sent_form(), f"/postback/{token}").replace(
        b"\r\n", b"\r\n" + lines.encode(), 1
    )
    return await request(gateway.address, raw)


def write(file: Path, text: str) -> None:
    file.write_text(text)


def indistinguishable(responses: list[HttpResponse]) -> bool:
    """Whether status, body and header names are the same; the Date differs by time only."""
    seen = {(each.status, each.body, *(each.headers.keys() - {"date"})) for each in responses}
    return len(seen) == 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "accounts.toml"
    file.write_text(ACME)
    return file


@pytest.fixture
def gateway(fresh_kafka: str, file: Path) -> Iterator[RunningGateway]:
    settings = {"proxies": "127.0.0.0/8", "request_timeout": REQUEST_TIMEOUT, "connections": 4}
    with open_gateway(fresh_kafka, tokens=file, **settings) as gateway:
        yield gateway


async def test_tokens_rotate_when_the_file_changes(gateway: RunningGateway, file: Path) -> None:
    assert (await post_to(gateway, "first-token")).status == 200
    write(file, "[acme]\ntokens = ['first-token', 'second-token']\n")
    await wait_for_status(200, gateway.address, form_request(sent_form(), "/postback/second-token"))
    assert (await post_to(gateway, "first-token")).status == 200
    write(file, "[acme]\ntokens = ['second-token']\n")
    await wait_for_status(404, gateway.address, form_request(sent_form(), "/postback/first-token"))
    assert (await post_to(gateway, "second-token")).status == 200


async def test_sighup_reloads_a_replaced_file(gateway: RunningGateway, file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_text(ACME.replace("first", "other"))  # of the same length, so only mtime and inode differ
    other.rename(file)
    os.kill(gateway.process.popen.pid, signal.SIGHUP)
    await wait_for_status(200, gateway.address, form_request(sent_form(), "/postback/other-token"))
    assert (await post_to(gateway, "first-token")).status == 404


@pytest.mark.parametrize("broken", ["[acme]\ntokens = ['first-tok", "", "[acme]\nrate = 5\n"])
async def test_invalid_file_is_logged_and_ignored(
    fresh_kafka: str, file: Path, capfd: pytest.CaptureFixture[str], broken: str
) -> None:
    with open_gateway(fresh_kafka, tokens=file) as gateway:
        write(file, broken)
        await gateway.wait_for_metric("postbacks_gateway_reload_failures_total", 1)
        assert (await post_to(gateway, "first-token")).status == 200
        write(file, ACME.replace("first", "second"))
        await wait_for_status(200, gateway.address, form_request(sent_form(), "/postback/second-token"))
    stderr = capfd.readouterr().err
    assert f"POSTBACKS_TOKENS={file}" in stderr
    assert "first-tok" not in stderr


def test_file_without_accounts_stops_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    done = run_module("gateway", tokens=tmp_path / "empty.toml", ops="127.0.0.1:0")
    assert done.returncode == REFUSED
    assert "must name an account" in done.stderr


async def test_denied_clients_get_indistinguishable_responses(gateway: RunningGateway, file: Path) -> None:
    write(
        file,
        """
        [acme]
        tokens = ["first-token"]
        networks = ["203.0.113.0/24"]
        [umbrella]
        tokens = [{token = "expired-token", expires = 2020-01-01T00:00:00Z}, "second-token"]
        """,
    )
    await wait_for_status(200, gateway.address, form_request(sent_form(), "/postback/second-token"))
    inside, outside = "X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 203.0.113.7, 198.51.100.1"
    assert (await post_to(gateway, "first-token", inside)).status == 200
    responses = [
        await post_to(gateway, "first-token", outside),
        await post_to(gateway, "first-token"),
        await post_to(gateway, "expired-token", inside),
        await post_to(gateway, "no-such-token", inside),
        await request(gateway.address, form_request(sent_form(), "/nowhere")),
    ]
    assert responses[0].status == 404
    assert indistinguishable(responses)


async def test_client_address_comes_from_the_proxy(gateway: RunningGateway, fresh_kafka: str) -> None:
    reference = uuid4().hex
    hops = ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.7:4711, 127.0.0.2")
    assert (await post_to(gateway, "first-token", *hops, body=sent_form(ReferenceID=reference))).status == 200
    _, _, value = await find_record(fresh_kafka, reference_id=reference)
    assert value["client_ip"] == "203.0.113.7"


async def test_account_over_rate_gets_429_with_retry_after(gateway: RunningGateway, file: Path) -> None:
    write(file, ACME + "rate = 0.1\nburst = 2\n[umbrella]\ntokens = ['second-token']\n")
    await wait_for_status(200, gateway.address, form_request(sent_form(), "/postback/second-token"))
    assert [(await post_to(gateway, "first-token")).status for _ in range(2)] == [200, 200]
    response = await post_to(gateway, "first-token")
    assert response.status == 429
    assert 8 <= int(response.headers["retry-after"]) <= 10
    assert (await post_to(gateway, "second-token")).status == 200


async def trickle(wire: Connection) -> None:
    """Send a byte at a time until cancelled."""
    while True:
        await wire.send(b"x")
        await asyncio.sleep(REQUEST_TIMEOUT / 20)


@pytest.mark.parametrize(
    "begin",
    [
        b"POST /postback/",
        b"POST /postback/first-token HTTP/1.1\r\nHost: x\r\nY: ",
        b"POST /postback/first-token HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n",
    ],
)
async def test_trickling_request_times_out_with_408(gateway: RunningGateway, begin: bytes) -> None:
    async with connect(gateway.address) as wire:
        began = time.monotonic()
        await wire.send(begin)
        trickling = asyncio.create_task(trickle(wire))
        assert (await wire.response()).status == 408
        assert time.monotonic() - began >= REQUEST_TIMEOUT
        assert await wire.wait_closed()
        trickling.cancel()
        await asyncio.wait([trickling])


async def test_connection_may_idle_longer_than_the_request_timeout(gateway: RunningGateway) -> None:
    async with connect(gateway.address) as wire:
        for _ in range(2):
            await wire.send(form_request(sent_form(), "/postback/first-token"))
            assert (await wire.response()).status == 200
            await asyncio.sleep(REQUEST_TIMEOUT * 2)


async def send_requests_forever(wire: Connection) -> None:
    while True:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)


async def test_client_that_reads_no_responses_is_disconnected(gateway: RunningGateway) -> None:
    async with connect(gateway.address) as wire:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_requests_forever(wire), TIMEOUT)
    assert (await post_to(gateway, "first-token")).status == 200


async def test_longest_idle_connection_is_closed_at_the_limit(gateway: RunningGateway) -> None:
    async with connect(gateway.address) as first, connect(gateway.address) as second:
        for wire in (second, first):
            await wire.send(form_request(sent_form(), "/postback/first-token"))
            assert (await wire.response()).status == 200
        async with connect(gateway.address) as third, connect(gateway.address) as fourth:
            for wire in (third, fourth):
                await wire.send(b"POST /post")
            await gateway.wait_for_metric("postbacks_gateway_connections", 4)
            assert (await post_to(gateway, "first-token")).status == 200
            assert await second.wait_closed()
            await first.send(form_request(sent_form(), "/postback/first-token"))
            assert (await first.response()).status == 200


async def test_connection_beyond_limit_gets_503_without_idle_ones(gateway: RunningGateway) -> None:
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connect(gateway.address)) for _ in range(4)]
        for wire in opened:
            await wire.send(b"POST /post")
        await gateway.wait_for_metric("postbacks_gateway_connections", 4)
        async with connect(gateway.address) as fifth:
            response = await fifth.response()
            assert (response.status, response.headers["retry-after"]) == (503, "5")
            assert await fifth.wait_closed()
        assert {(await wire.response()).status for wire in opened} == {408}


def test_connections_above_the_ulimit_stop_the_gateway() -> None:
    settings = {"listen": "127.0.0.1:0", "ops": "127.0.0.1:0", "kafka": free_address()}
    done = run_module("gateway", connections=100_000, **settings)
    assert done.returncode == REFUSED
    assert "POSTBACKS_CONNECTIONS=100000: must be " in done.stderr


async def test_shutdown_waits_for_a_request_body(fresh_kafka: str) -> None:
    reference = uuid4().hex
    with open_gateway(fresh_kafka) as gateway:
        async with connect(gateway.address) as wire, connect(gateway.address) as idle:
            head, _, body = form_request(sent_form(ReferenceID=reference)).partition(b"\r\n\r\n")
            await wire.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert (await wire.head())[0] == 100
            gateway.process.popen.terminate()
            assert await idle.wait_closed()
            await wire.send(body)
            response = await wire.response()
            assert (response.status, response.headers["connection"]) == (200, "close")
            assert await wire.wait_closed()
        assert await gateway.process.wait(TIMEOUT) == DONE
    await find_record(fresh_kafka, reference_id=reference)


def write_certificate(authority: trustme.CA, certificate: Path, key: Path) -> None:
    issued = authority.issue_cert("127.0.0.1")
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())


async def serial_of(address: str, context: ssl.SSLContext) -> object:
    """The serial number of the certificate on a new connection, after posting over it."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(form_request(sent_form()))
    assert (await Connection(reader, writer).response()).status == 200
    writer.close()
    return writer.get_extra_info("peercert")["serialNumber"]


async def test_tls_serves_a_renewed_certificate(fresh_kafka: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate(authority, certificate, key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with open_gateway(fresh_kafka, tls_certificate=certificate, tls_key=key) as gateway:
        first = await serial_of(gateway.address, context)
        async with connect(gateway.address) as plain:  # without TLS there is no response
            await plain.send(form_request(sent_form()))
            await plain.wait_closed()
        key.write_text("no key")
        await gateway.wait_for_metric("postbacks_gateway_reload_failures_total", 1)
        assert await serial_of(gateway.address, context) == first
        write_certificate(authority, certificate, key)
        await eventually(
            lambda: serial_of(gateway.address, context), "the new certificate", lambda serial: serial != first
        )
        assert await asyncio.to_thread(gateway.process.stop) == DONE


def test_certificate_with_another_key_stops_the_gateway(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, other_key = tmp_path / "certificate.pem", tmp_path / "other-key.pem"
    write_certificate(authority, certificate, tmp_path / "key.pem")
    write_certificate(authority, tmp_path / "other.pem", other_key)
    done = run_module("gateway", tls_certificate=certificate, tls_key=other_key)
    assert done.returncode == REFUSED
    assert "must be a certificate and its key in PEM" in done.stderr
