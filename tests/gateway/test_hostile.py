"""The public port against hostile, broken and random input.

Whatever comes: never a 5xx, never a traceback, never a connection that stays, and the next one is served.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import malformed as nasty
from tests.support.gateway import RunningGateway, form, open_gateway, request
from tests.support.kafka_reset import wipe

#: Seconds that a gateway of these tests waits for a request, and between two; and then it must be over.
PATIENCE, END = 0.5, 15.0
CORPUS = nasty.NO_HTTP | nasty.NO_BODY | nasty.ODD


@pytest.fixture(scope="module")
def gateway(kafka: str) -> Iterator[RunningGateway]:
    asyncio.run(wipe(kafka))
    with open_gateway(kafka, request_timeout=str(PATIENCE), idle_timeout=str(PATIENCE)) as gateway:
        yield gateway


async def talk(address: str, raw: bytes) -> bytes:
    """All that is answered until the other side closes, which it must."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    said = b""
    try:
        writer.write(raw)
        async with asyncio.timeout(END):
            while some := await reader.read(65_536):
                said += some
    except ConnectionError:  # closed while we still spoke
        pass
    finally:
        writer.close()
    return said


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/[01]\.[019] ([0-9]{3})", said)]


async def is_served(gateway: RunningGateway) -> bool:
    """Whether an ordinary request gets 200, soon; one that was sent too slowly does not count."""
    async with asyncio.timeout(END):
        while True:
            with suppress(asyncio.IncompleteReadError):  # the gateway closed it as idle
                status = (await request(gateway.address, form(nasty.SENT))).status
                if status != 408:
                    return status == 200


@pytest.mark.parametrize("name", CORPUS)
async def test_the_corpus_gets_no_5xx_and_no_place_to_stay(gateway: RunningGateway, name: str) -> None:
    assert all(status < 500 for status in statuses(await talk(gateway.address, CORPUS[name])))
    assert await is_served(gateway)


@pytest.mark.parametrize("name", nasty.NO_HTTP | nasty.NO_BODY)
async def test_what_could_be_read_in_two_ways_is_read_in_none(gateway: RunningGateway, name: str) -> None:
    said = statuses(await talk(gateway.address, CORPUS[name]))
    assert said in ([], [400], [408], [413])


@pytest.mark.parametrize(
    "name", [name for name in nasty.ODD if name.startswith(("a list", "many", "a boundary"))]
)
async def test_many_fields_are_read_quickly(gateway: RunningGateway, name: str) -> None:
    began = time.monotonic()
    assert (await request(gateway.address, nasty.ODD[name])).status == 400
    assert time.monotonic() - began < 2.0


STARTS = st.sampled_from([*CORPUS.values(), nasty.post(), nasty.chunked(b"0\r\n\r\n")]).map(
    lambda raw: raw[:2_000]
)
BITS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"\r\n", b"\n", b"\r", b"\x00", b" ", b":", b"\r\n\r\n", b"%", b"Content-Length: 7\r\n", b"\xff" * 9]
    ),
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A request of the corpus with some bits put in, cut out or written over, and perhaps without its end."""
    raw = draw(STARTS)
    for _ in range(draw(st.integers(0, 4))):
        at, bit = draw(st.integers(0, len(raw))), draw(BITS)
        raw = raw[:at] + bit + raw[at + draw(st.integers(0, len(bit))) :]
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw


@given(st.lists(st.one_of(mutations(), st.binary(max_size=500)), min_size=1, max_size=40))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_random_input_gets_no_5xx_and_no_place_to_stay(gateway: RunningGateway, packets: list[bytes]) -> None:
    async def talks() -> None:
        for said in await asyncio.gather(*(talk(gateway.address, packet) for packet in packets)):
            assert all(status < 500 for status in statuses(said))
        assert await is_served(gateway)

    asyncio.run(talks())


async def test_nothing_of_all_this_was_said_aloud(kafka: str, capfd: pytest.CaptureFixture[str]) -> None:
    """On a gateway that logs all but debugging; the whole corpus at once."""
    times = {"request_timeout": str(PATIENCE), "idle_timeout": str(PATIENCE)}
    with open_gateway(kafka, log_level="info", **times) as gateway:
        await asyncio.gather(*(talk(gateway.address, raw) for raw in CORPUS.values()))
        assert await is_served(gateway)
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "error" not in said
    assert len(said.splitlines()) < 10
