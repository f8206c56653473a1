"""Who is let in to the public port, for how much and for how long; on a running gateway."""

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
    Answer,
    Connection,
    RunningGateway,
    connection,
    form,
    free_address,
    kept,
    open_gateway,
    request,
    until,
)
from tests.support.process import running

SECONDS = 60.0
REQUEST_SECONDS = 1.0
ACME = "[acme]\ntokens = ['first-token']\n"


def sent(reference: str = "") -> bytes:
    return f"SMSSent=1&MessageID={uuid4()}&ReferenceID={reference}".encode()


async def post_to(gateway: RunningGateway, token: str, *headers: str, body: bytes = b"") -> Answer:
    lines = "".join(f"{header}\r\n" for header in headers)
    raw = form(body or sent(), f"/postback/{token}").replace(b"\r\n", b"\r\n" + lines.encode(), 1)
    return await request(gateway.address, raw)


def write(file: Path, text: str) -> None:
    file.write_text(text)


def alike(answers: list[Answer]) -> bool:
    """Whether they cannot be told apart."""
    return len({(answer.status, answer.body, *(answer.headers.keys() - {"date"})) for answer in answers}) == 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "accounts.toml"
    file.write_text(ACME)
    return file


@pytest.fixture
def gateway(fresh_kafka: str, file: Path) -> Iterator[RunningGateway]:
    settings = {"proxies": "127.0.0.0/8", "request_timeout": str(REQUEST_SECONDS), "connections": "4"}
    with open_gateway(fresh_kafka, tokens=str(file), **settings) as gateway:
        yield gateway


async def test_tokens_rotate_with_the_file(gateway: RunningGateway, file: Path) -> None:
    assert (await post_to(gateway, "first-token")).status == 200
    write(file, "[acme]\ntokens = ['first-token', 'second-token']\n")
    await until(200, gateway.address, form(sent(), "/postback/second-token"))
    assert (await post_to(gateway, "first-token")).status == 200
    write(file, "[acme]\ntokens = ['second-token']\n")
    await until(404, gateway.address, form(sent(), "/postback/first-token"))
    assert (await post_to(gateway, "second-token")).status == 200


async def test_tokens_rotate_when_the_file_is_replaced_or_upon_sighup(
    gateway: RunningGateway, file: Path
) -> None:
    other = file.with_suffix(".new")
    other.write_text(ACME.replace("first", "other"))  # of the same length
    other.rename(file)
    os.kill(gateway.process.popen.pid, signal.SIGHUP)
    await until(200, gateway.address, form(sent(), "/postback/other-token"))
    assert (await post_to(gateway, "first-token")).status == 404


@pytest.mark.parametrize("broken", ["[acme]\ntokens = ['first-tok", "", "[acme]\nrate = 5\n"])
async def test_a_broken_file_changes_nothing_and_is_complained_about(
    fresh_kafka: str, file: Path, capfd: pytest.CaptureFixture[str], broken: str
) -> None:
    with open_gateway(fresh_kafka, tokens=str(file)) as gateway:
        write(file, broken)
        await gateway.reaches("reloads_failed_total", 1)
        assert (await post_to(gateway, "first-token")).status == 200
        write(file, ACME.replace("first", "second"))
        await until(200, gateway.address, form(sent(), "/postback/second-token"))
    said = capfd.readouterr().err
    assert f"POSTBACKS_TOKENS={file}" in said
    assert "first-tok" not in said


async def test_a_file_that_names_no_account_lets_nobody_in(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.toml").touch()
    settings = {"POSTBACKS_TOKENS": str(tmp_path / "empty.toml"), "POSTBACKS_OPS": "127.0.0.1:0"}
    with running("gateway", environment=settings) as process:
        assert await asyncio.to_thread(process.popen.wait, SECONDS) == REFUSED
    assert "must name an account" in capfd.readouterr().err


async def test_who_is_not_let_in_cannot_tell_why(gateway: RunningGateway, file: Path) -> None:
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
    await until(200, gateway.address, form(sent(), "/postback/second-token"))
    inside, outside = "X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 203.0.113.7, 198.51.100.1"
    assert (await post_to(gateway, "first-token", inside)).status == 200
    answers = [
        await post_to(gateway, "first-token", outside),
        await post_to(gateway, "first-token"),
        await post_to(gateway, "expired-token", inside),
        await post_to(gateway, "no-such-token", inside),
        await request(gateway.address, form(sent(), "/nowhere")),
    ]
    assert answers[0].status == 404
    assert alike(answers)


async def test_the_client_is_whom_the_proxy_names(gateway: RunningGateway, fresh_kafka: str) -> None:
    reference = uuid4().hex
    hops = ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.7:4711, 127.0.0.2")
    assert (await post_to(gateway, "first-token", *hops, body=sent(reference))).status == 200
    _, _, value = await kept(fresh_kafka, reference_id=reference)
    assert value["client_ip"] == "203.0.113.7"


async def test_over_its_rate_an_account_is_told_when_to_come_again(
    gateway: RunningGateway, file: Path
) -> None:
    write(file, ACME + "rate = 0.1\nburst = 2\n[umbrella]\ntokens = ['second-token']\n")
    await until(200, gateway.address, form(sent(), "/postback/second-token"))
    assert [(await post_to(gateway, "first-token")).status for _ in range(2)] == [200, 200]
    answer = await post_to(gateway, "first-token")
    assert answer.status == 429
    assert 8 <= int(answer.headers["retry-after"]) <= 10
    assert (await post_to(gateway, "second-token")).status == 200


async def trickle(wire: Connection) -> None:
    """A byte now and then, until the other side has had enough."""
    while True:
        await wire.send(b"x")
        await asyncio.sleep(REQUEST_SECONDS / 20)


@pytest.mark.parametrize(
    "begin",
    [
        b"POST /postback/",
        b"POST /postback/first-token HTTP/1.1\r\nHost: x\r\nY: ",
        b"POST /postback/first-token HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n",
    ],
)
async def test_who_trickles_is_told_so_and_cut_off(gateway: RunningGateway, begin: bytes) -> None:
    async with connection(gateway.address) as wire:
        began = time.monotonic()
        await wire.send(begin)
        trickling = asyncio.create_task(trickle(wire))
        assert (await wire.answer()).status == 408
        assert time.monotonic() - began >= REQUEST_SECONDS
        assert await wire.closed()
        trickling.cancel()
        await asyncio.wait([trickling])


async def test_who_was_quick_before_may_rest(gateway: RunningGateway) -> None:
    async with connection(gateway.address) as wire:
        for _ in range(2):
            await wire.send(form(sent(), "/postback/first-token"))
            assert (await wire.answer()).status == 200
            await asyncio.sleep(REQUEST_SECONDS * 2)


async def ask_without_end(wire: Connection) -> None:
    while True:
        await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)


async def test_who_does_not_take_the_answers_is_cut_off(gateway: RunningGateway) -> None:
    async with connection(gateway.address) as wire:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ask_without_end(wire), SECONDS)
    assert (await post_to(gateway, "first-token")).status == 200


async def test_the_one_who_rests_longest_makes_room(gateway: RunningGateway) -> None:
    async with connection(gateway.address) as first, connection(gateway.address) as second:
        for wire in (second, first):
            await wire.send(form(sent(), "/postback/first-token"))
            assert (await wire.answer()).status == 200
        async with connection(gateway.address) as third, connection(gateway.address) as fourth:
            for wire in (third, fourth):
                await wire.send(b"POST /post")
            await gateway.reaches("connections", 4)
            assert (await post_to(gateway, "first-token")).status == 200
            assert await second.closed()
            await first.send(form(sent(), "/postback/first-token"))
            assert (await first.answer()).status == 200


async def test_where_nobody_rests_who_comes_is_told_to_come_again(gateway: RunningGateway) -> None:
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connection(gateway.address)) for _ in range(4)]
        for wire in opened:
            await wire.send(b"POST /post")
        await gateway.reaches("connections", 4)
        async with connection(gateway.address) as fifth:
            answer = await fifth.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert await fifth.closed()
        assert {(await wire.answer()).status for wire in opened} == {408}


async def test_more_connections_than_the_system_allows_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    settings = {
        "LISTEN": "127.0.0.1:0",
        "OPS": "127.0.0.1:0",
        "CONNECTIONS": "100000",
        "KAFKA": free_address(),
    }
    with running(
        "gateway", environment={f"POSTBACKS_{name}": value for name, value in settings.items()}
    ) as process:
        assert await asyncio.to_thread(process.popen.wait, SECONDS) == REFUSED
    assert "POSTBACKS_CONNECTIONS=100000: must be " in capfd.readouterr().err


async def test_a_body_that_still_comes_is_waited_for_at_the_end(fresh_kafka: str) -> None:
    reference = uuid4().hex
    with open_gateway(fresh_kafka) as gateway:
        async with connection(gateway.address) as wire, connection(gateway.address) as idle:
            head, _, body = form(sent(reference)).partition(b"\r\n\r\n")
            await wire.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert (await wire.head())[0] == 100
            gateway.process.popen.terminate()
            assert await idle.closed()
            await wire.send(body)
            answer = await wire.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await wire.closed()
        assert await asyncio.to_thread(gateway.process.popen.wait, SECONDS) == DONE
    await kept(fresh_kafka, reference_id=reference)


def write_certificate(authority: trustme.CA, certificate: Path, key: Path) -> None:
    issued = authority.issue_cert("127.0.0.1")
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())


async def serial_of(address: str, context: ssl.SSLContext) -> object:
    """The serial number of the certificate that a new connection is shown; a postback is kept over it."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(form(sent()))
    assert (await Connection(reader, writer).answer()).status == 200
    writer.close()
    return writer.get_extra_info("peercert")["serialNumber"]


async def other_serial(serial: object, address: str, context: ssl.SSLContext) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            if await serial_of(address, context) != serial:
                return
            await asyncio.sleep(0.1)


async def test_over_tls_and_with_a_renewed_certificate(fresh_kafka: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate(authority, certificate, key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with open_gateway(fresh_kafka, tls_certificate=str(certificate), tls_key=str(key)) as gateway:
        first = await serial_of(gateway.address, context)
        async with connection(gateway.address) as plain:  # who does not know is not answered in the clear
            await plain.send(form(sent()))
            await plain.closed()
        write(key, "no key")
        await gateway.reaches("reloads_failed_total", 1)
        assert await serial_of(gateway.address, context) == first
        write_certificate(authority, certificate, key)
        await other_serial(first, gateway.address, context)
        assert await asyncio.to_thread(gateway.process.stop) == DONE


def test_a_certificate_without_its_key_stops_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    authority = trustme.CA()
    write_certificate(authority, tmp_path / "certificate.pem", tmp_path / "key.pem")
    write_certificate(authority, tmp_path / "other.pem", tmp_path / "other-key.pem")
    settings = {
        "TLS_CERTIFICATE": str(tmp_path / "certificate.pem"),
        "TLS_KEY": str(tmp_path / "other-key.pem"),
    }
    environment = {f"POSTBACKS_{name}": value for name, value in settings.items()}
    with running("gateway", environment=environment) as process:
        assert process.popen.wait(SECONDS) == REFUSED
    assert "must be a certificate and its key in PEM" in capfd.readouterr().err
