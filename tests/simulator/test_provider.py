"""The simulated provider as a server: calls, its ledger, and the postbacks that follow."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from gateway.sms_errors import SMS_ERRORS
from sending.client import ProviderClient
from sending.outcomes import Answered, Rejected, SendOutcome, Unknown
from sending.sms import OutgoingSms
from simulator.provider import ProviderPlan, serve
from simulator.provider_report import ProviderReport
from simulator.replies import NEAR_MISSES, START, STOP
from tests.support.gateway import post
from tests.support.raw_server import RawServer, raw_server, respond
from tests.support.wait import eventually

NUMBER = "17575449510"
KEPT = respond(b"Kept")


@dataclass
class Running:
    client: ProviderClient
    address: str
    reports: list[ProviderReport] = field(default_factory=list)

    @property
    def report(self) -> ProviderReport:
        return self.reports[0]

    async def send(self, *messages: OutgoingSms) -> SendOutcome:
        return await self.client.send(messages)


@asynccontextmanager
async def provider(
    url: str = "http://127.0.0.1:1/", *, pace: float = 0.0, seed: int = 1, **fields: Any
) -> AsyncIterator[Running]:
    """Run it for the block; its report is available after that."""
    stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    plan = ProviderPlan("127.0.0.1", 0, seed, url, pace=pace, **fields)
    serving = asyncio.create_task(serve(plan, stop, address.set_result))
    await asyncio.wait((serving, address), return_when=asyncio.FIRST_COMPLETED)
    running = None
    try:
        async with ProviderClient(f"http://{address.result()}/sms.svc", SecretStr("key")) as client:
            running = Running(client, address.result())
            yield running
    finally:
        stop.set()
        report = await serving
        if running:
            running.reports.append(report)


def sms(reference_id: str = "", number: str = NUMBER, sender: str = "74121", **fields: object) -> OutgoingSms:
    return OutgoingSms(number, "Hi", sender, reference_id, **fields)  # type: ignore[arg-type]


def answered(outcome: SendOutcome) -> Answered:
    assert isinstance(outcome, Answered), outcome
    return outcome


def forms(receiver: RawServer) -> list[dict[str, str]]:
    return [
        {name: values[0] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}
        for request in receiver.requests
    ]


async def test_both_calls_queue_a_message() -> None:
    async with provider() as running:
        advanced = answered(await running.send(sms("a"), sms("b")))
        simple = answered(await running.client.send_simple(OutgoingSms(NUMBER, "Hi")))
    assert [answer.reference_id for answer in advanced.answers] == ["a", "b"]
    ids = {answer.message_id for answer in (*advanced.answers, *simple.answers)}
    assert len(ids - {None}) == 3
    assert (running.report.calls, running.report.accepted, running.report.messages) == (2, 3, 3)


async def test_each_error_is_answered_and_counted() -> None:
    async with provider() as running:
        outcome = answered(await running.send(*[sms(f"error-{error.number}") for error in SMS_ERRORS]))
    assert [answer.error for answer in outcome.answers] == [error.number for error in SMS_ERRORS]
    assert running.report.refused == {error.name: 1 for error in SMS_ERRORS[1:]}
    assert running.report.accepted == 1


@pytest.mark.parametrize(("drop", "accepted"), [("before", 0), ("after", 1)])
async def test_dropped_connection_gets_no_answer(drop: str, accepted: int) -> None:
    async with provider() as running:
        advanced = await running.send(sms(f"drop-{drop}"))
        number = {"before": "17575550120", "after": "17575550121"}[drop]
        simple = await running.client.send_simple(OutgoingSms(number, "Hi"))
    assert isinstance(advanced, Unknown)
    assert isinstance(simple, Unknown)
    report = running.report
    assert (report.calls, report.accepted, report.dropped) == (2, 2 * accepted, {drop: 2})
    assert report.sent_twice == 0


async def test_message_that_is_sent_twice_is_visible(tmp_path: Path) -> None:
    async with provider(ledger=tmp_path / "ledger") as running:
        for reference in ("once", "twice", "twice", "error-3", "error-3"):
            await running.send(sms(reference))
        with closing(sqlite3.connect(tmp_path / "ledger")) as database:  # also while it runs
            times = dict(database.execute("SELECT reference_id, times FROM accepted"))
    assert times == {"once": 1, "twice": 2}
    report = running.report
    assert (report.accepted, report.messages, report.sent_twice) == (3, 2, 1)
    assert [tuple(example) for example in report.examples] == [("twice", NUMBER, 2)]


async def test_delay_is_before_the_answer_only() -> None:
    loop = asyncio.get_running_loop()
    async with provider() as running:
        started = loop.time()
        answered(await running.send(sms("delay-0.3")))
        assert loop.time() - started >= 0.3


async def test_invalid_calls_are_rejected() -> None:
    async with provider() as running:
        response = await post(running.address, b"nonsense", "/AdvancedSMSsend")
        other = await post(running.address, b"", "/Other")
    assert (response.status, other.status) == (400, 404)
    assert b"must be the JSON of AdvancedSMSsend" in response.body
    assert running.report.rejected == {"400": 1, "404": 1}


async def test_postbacks_go_to_the_messages_own_url() -> None:
    async with (
        raw_server(KEPT) as own,
        raw_server(KEPT) as default,
        provider(f"http://{default.address}/default") as running,
    ):
        url = f"http://{own.address}/postback/TOKEN"
        await running.send(*[sms(f"own-{number}", status_postback_url=url) for number in range(5)])
        await running.send(*[sms(f"default-{number}") for number in range(5)])
    for receiver, path, prefix in ((own, "/postback/TOKEN", "own-"), (default, "/default", "default-")):
        assert {request.target for request in receiver.requests} == {path}
        references = {form["ReferenceID"] for form in forms(receiver)} - {""}
        assert references == {f"{prefix}{number}" for number in range(5)}
    postbacks = running.report.postbacks
    assert (postbacks.posts, postbacks.unsure) == (len(own.requests) + len(default.requests), 0)


async def test_everything_documented_follows_a_send() -> None:
    async with raw_server(KEPT) as receiver, provider(f"http://{receiver.address}/") as running:
        for batch in range(20):
            await running.send(*[sms(f"r-{batch}-{number}") for number in range(100)])
    posted = forms(receiver)
    assert {"SMSSent", "DeliveryReceipt", "SMSResponse"} <= {next(iter(form)) for form in posted}
    (backup, *_) = [form for form in posted if form.get("BackupMessageID")]
    assert backup["Code"] == "091"
    assert any(form["MessageID"] == backup["BackupMessageID"] for form in posted if "SMSSent" in form)
    texts = [form["Message"] for form in posted if "SMSResponse" in form]
    for kind in (STOP, NEAR_MISSES, START):
        assert len(set(kind) & set(texts)) > 1
    assert any("SMSResponse" in form and not form.get("MatchedMessageID", "").strip("0-") for form in posted)


async def test_silent_message_has_no_postbacks() -> None:
    async with raw_server(KEPT) as receiver, provider(f"http://{receiver.address}/") as running:
        answered(await running.send(sms("silent")))
    assert receiver.requests == []
    assert (running.report.accepted, running.report.pending) == (1, 0)


async def test_scheduled_message_is_not_posted_before() -> None:
    async with raw_server(KEPT) as receiver, provider(f"http://{receiver.address}/") as running:
        later = datetime.now(UTC) + timedelta(hours=1)
        answered(await running.send(sms("later", scheduled_for=later)))
        answered(await running.send(sms("now")))
        await eventually(lambda: receiver.requests, "a postback about the other")
    assert {form["ReferenceID"] for form in forms(receiver)} <= {"now", ""}
    assert running.report.pending > 0


async def test_pending_postbacks_are_posted_at_the_end() -> None:
    async with raw_server(KEPT) as receiver, provider(f"http://{receiver.address}/", pace=1e6) as running:
        await running.send(*[sms(f"r-{number}") for number in range(200)])
        assert receiver.requests == []
    assert {form["ReferenceID"] for form in forms(receiver)} >= {f"r-{number}" for number in range(200)}
    assert running.report.pending == 0


async def test_too_many_pending_postbacks_reject_calls() -> None:
    async with provider(pace=1e6, max_pending=1) as running:
        answered(await running.send(sms("a")))
        rejected = await running.send(sms("b"))
    assert rejected == Rejected(429)
    assert running.report.accepted == 1


async def test_same_seed_gives_the_same_postbacks() -> None:
    posted = []
    for _ in range(2):
        async with raw_server(KEPT) as receiver, provider(f"http://{receiver.address}/", seed=5) as running:
            await running.send(*[sms(f"r-{number}") for number in range(30)])
        posted.append(sorted(form["MessageID"] for form in forms(receiver)))
    assert posted[0] == posted[1]
