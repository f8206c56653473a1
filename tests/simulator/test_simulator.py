"""The simulated provider over real connections: what it writes, when it retries, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest
from aiokafka import AIOKafkaConsumer

from gateway.postback import POSTBACK_TOPICS, AnyPostback, decode
from simulator.postback import SimulatedPostback
from simulator.run import Plan, Sending, simulate
from tests.support.gateway import open_gateway
from tests.support.samples import head

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SECONDS = 60.0


def answer(status: int) -> bytes:
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: 3\r\n\r\nok\n" % status


class Receiver:
    """What a PostBackURL points at: takes requests, and answers each as it is told to."""

    def __init__(self, statuses: Callable[[int], int | None], asks: bytes = CONTINUE) -> None:
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self._statuses = statuses
        self._asks = asks

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                start = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._asks)
                length = int(start.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append((start, await reader.readexactly(length)))
                status = self._statuses(len(self.requests))
                if status is None:
                    break
                writer.write(answer(status))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[str]:
    async with await asyncio.start_server(receiver, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/postback/secret?account=42"


async def postbacks_in(kafka: str, count: int) -> list[AnyPostback]:
    """The first records of the postback topics, waited for."""
    consumer = AIOKafkaConsumer(*POSTBACK_TOPICS, bootstrap_servers=kafka, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(SECONDS):
        return [
            decode(record.topic, record.value) for record in [await consumer.getone() for _ in range(count)]
        ]


async def test_it_posts_as_the_provider_does_over_a_kept_connection() -> None:
    receiver = Receiver(lambda _: 200)
    async with receiving(receiver) as url:
        report = await simulate(Plan(url, 1_000, 1, count=50, connections=1), asyncio.Event())
    assert report.answers == {"200": 50}
    assert receiver.connections == 1
    host = url.removeprefix("http://").partition("/")[0]
    for start, body in receiver.requests:
        assert start == head(body, "/postback/secret?account=42", host)


async def test_it_asks_before_it_sends_a_body_but_not_for_ever() -> None:
    receiver = Receiver(lambda _: 200, asks=b"")
    async with receiving(receiver) as url:
        report = await simulate(Plan(url, 1_000, 1, count=2, connections=1), asyncio.Event())
    assert report.answers == {"200": 2}
    assert report.seconds >= 0.6


async def test_what_is_not_acknowledged_comes_again_the_same_until_it_is() -> None:
    # Of every three answers one is a refusal and one a broken connection.
    receiver = Receiver(lambda number: {0: 200, 1: 503, 2: None}[number % 3])
    seen: list[tuple[SimulatedPostback, int | None]] = []
    async with receiving(receiver) as url:
        plan = Plan(url, 1_000, 1, count=12, connections=4)
        report = await simulate(
            plan, asyncio.Event(), observe=lambda packet, status: seen.append((packet, status))
        )
    assert report.answers["200"] == 12
    assert report.answers["503"] == report.answers["none"] == 12
    assert report.unsure == 0
    assert report.events == len({packet.body for packet, status in seen if status == 200})
    assert sorted(body for _, body in receiver.requests) == sorted(packet.body for packet, _ in seen)


@pytest.mark.parametrize("status", [400, 404, 413])
async def test_what_repetition_cannot_change_is_let_be(status: int) -> None:
    receiver = Receiver(lambda _: status)
    async with receiving(receiver) as url:
        report = await simulate(Plan(url, 1_000, 1, count=10), asyncio.Event())
    assert report.answers == {str(status): 10}
    assert (report.events, report.unsure) == (0, 0)


async def test_tries_are_bounded() -> None:
    receiver = Receiver(lambda _: 503)
    async with receiving(receiver) as url:
        report = await simulate(Plan(url, 1_000, 1, count=4, tries=3), asyncio.Event())
    assert report.answers == {"503": 12}
    assert report.unsure == 4


async def test_silence_counts_as_no_answer() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        report = await simulate(Plan(url, 1_000, 1, count=2, tries=1, patience=0.2), asyncio.Event())
    assert report.answers == {"none": 2}


async def test_when_nobody_listens_it_goes_on_trying_and_stops_when_told() -> None:
    stop = asyncio.Event()
    tries = count(1)

    def observe(_: SimulatedPostback, status: int | None) -> None:
        assert status is None
        if next(tries) == 5:
            stop.set()

    async with receiving(Receiver(lambda _: 200)) as url:
        pass
    report = await asyncio.wait_for(simulate(Plan(url, 10, 1), stop, observe), SECONDS)
    assert report.posts >= 5
    assert report.events == 0


async def test_stopping_finishes_what_is_in_flight_and_counts_it() -> None:
    stop = asyncio.Event()
    receiver = Receiver(lambda _: 200)

    def observe(_: SimulatedPostback, __: int | None) -> None:
        if len(receiver.requests) >= 100:
            stop.set()

    async with receiving(receiver) as url:
        report = await asyncio.wait_for(simulate(Plan(url, 5_000, 1), stop, observe), SECONDS)
    assert report.posts == len(receiver.requests) == report.answers["200"]


async def test_simulator_never_exceeds_its_rate_and_reports_progress() -> None:
    told: list[Sending] = []
    async with receiving(Receiver(lambda _: 200)) as url:
        report = await simulate(Plan(url, 100, 1, count=250), asyncio.Event(), progress=told.append)
    assert report.posts == 250
    assert report.seconds > 2.4
    assert [sending.posts for sending in told] == sorted(sending.posts for sending in told)
    assert 0 < told[0].events <= told[0].posts < report.posts


async def test_a_url_that_nobody_can_post_to_is_refused() -> None:
    with pytest.raises(ValueError, match="must be http"):
        await simulate(Plan("localhost:8080", 1, 1), asyncio.Event())


async def test_what_it_says_it_sent_is_what_the_gateway_put_into_kafka(fresh_kafka: str) -> None:
    with open_gateway(fresh_kafka) as gateway:
        plan = Plan(f"http://{gateway.address}/postback", 2_000, 11, count=3_000)
        report = await simulate(plan, asyncio.Event())
        assert report.answers == {"200": 3_000}
        postbacks = await postbacks_in(fresh_kafka, 3_000)
    assert len({postback.event_id for postback in postbacks}) == report.events
    assert len({postback.message_id for postback in postbacks}) == report.messages
