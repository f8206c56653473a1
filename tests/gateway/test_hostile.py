"""Hostile, malformed and random input to the public port.

It never causes a 5xx, a traceback or a connection that stays open, and the next request is served.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.usage import cpu_seconds
from tests.support import malformed
from tests.support.gateway import RunningGateway, form_request, open_gateway, request
from tests.support.kafka import wipe

#: Seconds of the gateway's request and idle timeouts, and within which every connection must be closed.
TIMEOUT, DEADLINE = 0.5, 15.0
CORPUS = malformed.INVALID_HTTP | malformed.INVALID_BODY | malformed.UNUSUAL


@pytest.fixture(scope="module")
def gateway(kafka: str) -> Iterator[RunningGateway]:
    asyncio.run(wipe(kafka))
    with open_gateway(kafka, request_timeout=TIMEOUT, idle_timeout=TIMEOUT) as gateway:
        yield gateway


async def exchange(address: str, raw: bytes) -> bytes:
    """Send raw bytes; return everything received until the gateway closes the connection."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = b""
    try:
        writer.write(raw)
        async with asyncio.timeout(DEADLINE):
            while chunk := await reader.read(65_536):
                received += chunk
    except ConnectionError:  # closed while sending
        pass
    finally:
        writer.close()
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/[01]\.[019] ([0-9]{3})", received)]


async def is_served(gateway: RunningGateway) -> bool:
    """Whether a valid request gets 200 in time. Retries if this test itself was too slow to send it."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with suppress(asyncio.IncompleteReadError):  # closed as idle
                status = (await request(gateway.address, form_request(malformed.SENT))).status
                if status != 408:
                    return status == 200


@pytest.mark.parametrize("name", CORPUS)
async def test_corpus_gets_no_5xx_and_is_disconnected(gateway: RunningGateway, name: str) -> None:
    assert all(status < 500 for status in statuses(await exchange(gateway.address, CORPUS[name])))
    assert await is_served(gateway)


@pytest.mark.parametrize("name", malformed.INVALID_HTTP | malformed.INVALID_BODY)
async def test_ambiguous_requests_are_not_parsed(gateway: RunningGateway, name: str) -> None:
    received = statuses(await exchange(gateway.address, CORPUS[name]))
    assert received in ([], [400], [408], [413])


@pytest.mark.parametrize(
    "name", [name for name in malformed.UNUSUAL if name.startswith(("a list", "many", "a boundary"))]
)
async def test_many_fields_cost_less_than_two_seconds(gateway: RunningGateway, name: str) -> None:
    before = cpu_seconds(gateway.process.pid)
    assert (await request(gateway.address, malformed.UNUSUAL[name])).status == 400
    assert cpu_seconds(gateway.process.pid) - before < 2.0


SEEDS = st.sampled_from([*CORPUS.values(), malformed.post(), malformed.chunked(b"0\r\n\r\n")]).map(
    lambda raw: raw[:2_000]
)
FRAGMENTS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"\r\n", b"\n", b"\r", b"\x00", b" ", b":", b"\r\n\r\n", b"%", b"Content-Length: 7\r\n", b"\xff" * 9]
    ),
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A request of the corpus with fragments inserted or overwritten, possibly truncated."""
    raw = draw(SEEDS)
    for _ in range(draw(st.integers(0, 4))):
        at, fragment = draw(st.integers(0, len(raw))), draw(FRAGMENTS)
        raw = raw[:at] + fragment + raw[at + draw(st.integers(0, len(fragment))) :]
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw


@given(st.lists(st.one_of(mutations(), st.binary(max_size=500)), min_size=1, max_size=40))
@settings(max_examples=25)
def test_random_input_gets_no_5xx_and_is_disconnected(gateway: RunningGateway, inputs: list[bytes]) -> None:
    async def exchanges() -> None:
        for received in await asyncio.gather(*(exchange(gateway.address, raw) for raw in inputs)):
            assert all(status < 500 for status in statuses(received))
        assert await is_served(gateway)

    asyncio.run(exchanges())


async def test_corpus_causes_no_error_logs(fresh_kafka: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The whole corpus at once, at log level info."""
    options = {"request_timeout": TIMEOUT, "idle_timeout": TIMEOUT}
    with open_gateway(fresh_kafka, log_level="info", **options) as gateway:
        await asyncio.gather(*(exchange(gateway.address, raw) for raw in CORPUS.values()))
        assert await is_served(gateway)
    logs = capfd.readouterr().err
    assert "Traceback" not in logs
    assert "error" not in logs
    assert len(logs.splitlines()) < 10
