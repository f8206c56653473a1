"""The simulated provider over real connections: requests, retries, rate, shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest
from aiokafka import AIOKafkaConsumer

from gateway.postback import POSTBACK_TOPICS, AnyPostback, decode
from simulator.postback import SimulatedPostback
from simulator.run import Plan, RunProgress, simulate
from tests.support.gateway import open_gateway
from tests.support.samples import head

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TIMEOUT = 60.0


def response(status: int) -> bytes:
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: 3\r\n\r\nok\n" % status


class Receiver:
    """The server behind a PostBackURL: responds to request n with `status_of(n)`, or closes (None)."""

    def __init__(self, status_of: Callable[[int], int | None], interim: bytes = CONTINUE) -> None:
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self._status_of = status_of
        self._interim = interim

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._interim)
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append((head, await reader.readexactly(length)))
                status = self._status_of(len(self.requests))
                if status is None:
                    break
                writer.write(response(status))
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
    """Wait for the first records of the postback topics and decode them."""
    consumer = AIOKafkaConsumer(*POSTBACK_TOPICS, bootstrap_servers=kafka, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(TIMEOUT):
        return [
            decode(record.topic, record.value) for record in [await consumer.getone() for _ in range(count)]
        ]


async def test_requests_equal_the_providers_on_one_connection() -> None:
    receiver = Receiver(lambda _: 200)
    async with receiving(receiver) as url:
        report = await simulate(Plan(url, 1_000, 1, count=50, connections=1), asyncio.Event())
    assert report.answers == {"200": 50}
    assert receiver.connections == 1
    host = url.removeprefix("http://").partition("/")[0]
    for request_head, body in receiver.requests:
        assert request_head == head(body, "/postback/secret?account=42", host)


async def test_body_is_sent_after_waiting_for_100_continue() -> None:
    receiver = Receiver(lambda _: 200, interim=b"")
    async with receiving(receiver) as url:
        report = await simulate(Plan(url, 1_000, 1, count=2, connections=1), asyncio.Event())
    assert report.answers == {"200": 2}
    assert report.seconds >= 0.6


async def test_postback_is_retried_unchanged_until_acknowledged() -> None:
    # Of every three requests one gets 503 and one a closed connection.
    receiver = Receiver(lambda number: {0: 200, 1: 503, 2: None}[number % 3])
    seen: list[tuple[SimulatedPostback, int | None]] = []
    async with receiving(receiver) as url:
        plan = Plan(url, 1_000, 1, count=12, connections=4)
        report = await simulate(
            plan, asyncio.Event(), observe=lambda postback, status: seen.append((postback, status))
        )
    assert report.answers["200"] == 12
    assert report.answers["503"] == report.answers["none"] == 12
    assert report.unsure == 0
    assert report.events == len({postback.body for postback, status in seen if status == 200})
    assert sorted(body for _, body in receiver.requests) == sorted(postback.body for postback, _ in seen)


@pytest.mark.parametrize("status", [400, 404, 413])
async def test_permanent_error_is_not_retried(status: int) -> None:
    receiver = Receiver(lambda _: status)
    async with receiving(receiver) as url:
        report = await simulate(Plan(url, 1_000, 1, count=10), asyncio.Event())
    assert report.answers == {str(status): 10}
    assert (report.events, report.unsure) == (0, 0)


async def test_attempts_are_bounded() -> None:
    receiver = Receiver(lambda _: 503)
    async with receiving(receiver) as url:
        report = await simulate(Plan(url, 1_000, 1, count=4, max_attempts=3), asyncio.Event())
    assert report.answers == {"503": 12}
    assert report.unsure == 4


async def test_timeout_counts_as_no_response() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        report = await simulate(Plan(url, 1_000, 1, count=2, max_attempts=1, timeout=0.2), asyncio.Event())
    assert report.answers == {"none": 2}


async def test_closed_port_is_retried_until_stopped() -> None:
    stop = asyncio.Event()
    attempts = count(1)

    def observe(_: SimulatedPostback, status: int | None) -> None:
        assert status is None
        if next(attempts) == 5:
            stop.set()

    async with receiving(Receiver(lambda _: 200)) as url:
        pass
    report = await asyncio.wait_for(simulate(Plan(url, 10, 1), stop, observe), TIMEOUT)
    assert report.posts >= 5
    assert report.events == 0


async def test_stop_completes_and_counts_posts_in_flight() -> None:
    stop = asyncio.Event()
    receiver = Receiver(lambda _: 200)

    def observe(_: SimulatedPostback, __: int | None) -> None:
        if len(receiver.requests) >= 100:
            stop.set()

    async with receiving(receiver) as url:
        report = await asyncio.wait_for(simulate(Plan(url, 5_000, 1), stop, observe), TIMEOUT)
    assert report.posts == len(receiver.requests) == report.answers["200"]


async def test_rate_is_not_exceeded_and_progress_is_reported() -> None:
    reported: list[RunProgress] = []
    async with receiving(Receiver(lambda _: 200)) as url:
        report = await simulate(Plan(url, 100, 1, count=250), asyncio.Event(), progress=reported.append)
    assert report.posts == 250
    assert report.seconds > 2.4
    assert [progress.posts for progress in reported] == sorted(progress.posts for progress in reported)
    assert 0 < reported[0].events <= reported[0].posts < report.posts


async def test_invalid_url_raises_value_error() -> None:
    with pytest.raises(ValueError, match="must be http"):
        await simulate(Plan("localhost:8080", 1, 1), asyncio.Event())


async def test_report_agrees_with_the_records_in_kafka(fresh_kafka: str) -> None:
    with open_gateway(fresh_kafka) as gateway:
        plan = Plan(f"http://{gateway.address}/postback", 2_000, 11, count=3_000)
        report = await simulate(plan, asyncio.Event())
        assert report.answers == {"200": 3_000}
        postbacks = await postbacks_in(fresh_kafka, 3_000)
    assert len({postback.event_id for postback in postbacks}) == report.events
    assert len({postback.message_id for postback in postbacks}) == report.messages
