"""A run sends each row at most once, and every answer becomes a submission."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import json
from pydantic import SecretStr

from sending.client import ProviderClient
from sending.intent_log import IntentLog, read_log
from sending.intents import SendStatus
from sending.rows import RowDefaults, SendRow, read_csv
from sending.run import MAX_UNKNOWN, SendReport, SendRun, due_rows
from sending.submissions import CONCURRENCY, SubmissionPoster
from tests.support.gateway import free_address
from tests.support.provider_server import KEPT, answer, recipients
from tests.support.raw_server import hang_up, raw_server, respond


def rows(count: int) -> list[SendRow]:
    lines = (f"1757544{number:04d},Hi\n" for number in range(count))
    return read_csv(["to,text\n", *lines], RowDefaults())


async def run(
    to_send: Sequence[SendRow], log: Path, provider: str, gateway: str, rate: float = 1000, drain: float = 20
) -> SendReport:
    client = ProviderClient(f"http://{provider}", SecretStr("key"), timeout=20)
    with IntentLog(log) as opened:
        async with client, SubmissionPoster(SecretStr(f"http://{gateway}/submission"), opened) as poster:
            running = SendRun(client, opened, poster, rate, asyncio.Event(), retry_timeout=0)
            await running.run(due_rows(to_send, opened.state))
            await poster.drain(drain)
    return running.report


async def test_each_row_is_sent_and_posted_once(tmp_path: Path) -> None:
    async with raw_server(answer()) as provider, raw_server(KEPT) as gateway:
        for _ in range(2):
            await run(rows(40), tmp_path / "log", provider.address, gateway.address)
    assert recipients(provider) == Counter(row.sms.to_number for row in rows(40))
    posted = [json.decode(request.body) for request in gateway.requests]
    assert Counter(body["request"]["SMSRequests"][0]["PhoneNumbers"][0] for body in posted) == recipients(
        provider
    )
    assert all(json.decode(body["response"])[0]["SMSError"] == 0 for body in posted)
    assert read_log(tmp_path / "log").pending == {}


async def test_added_row_is_sent_alone(tmp_path: Path) -> None:
    async with raw_server(answer()) as provider, raw_server(KEPT) as gateway:
        await run(rows(2), tmp_path / "log", provider.address, gateway.address)
        await run(rows(3), tmp_path / "log", provider.address, gateway.address)
    assert recipients(provider).total() == 3


async def test_unknown_row_is_sent_again_only_on_request(tmp_path: Path) -> None:
    async with raw_server(hang_up, answer()) as provider, raw_server(KEPT) as gateway:
        for _ in range(2):
            await run(rows(1), tmp_path / "log", provider.address, gateway.address)
        state = read_log(tmp_path / "log")
        assert [row.status for row in state.rows.values()] == [SendStatus.UNKNOWN]
        assert len(provider.requests) == 1
    assert due_rows(rows(1), state) == []
    assert due_rows(rows(1), state, [SendStatus.UNKNOWN]) == rows(1)


async def test_refused_row_is_final_and_posted(tmp_path: Path) -> None:
    async with raw_server(answer(3)) as provider, raw_server(KEPT) as gateway:
        report = await run(rows(1), tmp_path / "log", provider.address, gateway.address)
        await run(rows(1), tmp_path / "log", provider.address, gateway.address)
    assert "PhoneNumberInvalid" in report.results[0][1].detail
    assert (len(provider.requests), len(gateway.requests)) == (1, 1)


@pytest.mark.parametrize("error", [2, 9])
async def test_error_of_the_account_ends_the_run(tmp_path: Path, error: int) -> None:
    async with raw_server(answer(error), answer()) as provider, raw_server(KEPT) as gateway:
        report = await run(rows(5), tmp_path / "log", provider.address, gateway.address, rate=1)
        assert report.ended
        assert len(provider.requests) == 1
        await run(rows(5), tmp_path / "log", provider.address, gateway.address)
    assert recipients(provider).total() == 6, "the refused row is sent again, as the account was the reason"


async def test_unreachable_provider_leaves_rows_to_be_sent(tmp_path: Path) -> None:
    report = await run(rows(3), tmp_path / "log", free_address(), free_address(), rate=5)
    assert report.ended
    assert due_rows(rows(3), read_log(tmp_path / "log")) == rows(3)


async def test_rejected_call_ends_the_run(tmp_path: Path) -> None:
    async with raw_server(respond(b"", "404 Not Found")) as provider:
        report = await run(rows(3), tmp_path / "log", provider.address, free_address(), rate=5)
    assert report.ended == "the provider rejected the call with HTTP status 404"
    assert due_rows(rows(3), read_log(tmp_path / "log")) == rows(3)


async def test_many_unknown_in_a_row_end_the_run(tmp_path: Path) -> None:
    async with raw_server(respond(b"", "500 Internal Server Error")) as provider:
        report = await run(rows(60), tmp_path / "log", provider.address, free_address(), rate=50)
    assert "unknown outcomes in a row" in report.ended
    # A burst of calls may be in flight when the limit is reached.
    assert MAX_UNKNOWN <= len(provider.requests) < 60


async def test_rate_limits_the_calls(tmp_path: Path) -> None:
    async with raw_server(answer()) as provider, raw_server(KEPT) as gateway:
        started = asyncio.get_running_loop().time()
        await run(rows(11), tmp_path / "log", provider.address, gateway.address, rate=10)
        assert asyncio.get_running_loop().time() - started >= 1.0


@pytest.mark.parametrize("away", ["503 Service Unavailable", "404 Not Found", "302 Found"])
async def test_submission_is_kept_until_acknowledged(tmp_path: Path, away: str) -> None:
    log = tmp_path / "log"
    async with raw_server(answer()) as provider, raw_server(respond(b"", away)) as gateway:
        await run(rows(2), log, provider.address, gateway.address, drain=0.2)
        assert len(gateway.requests) >= 1
    assert len(read_log(log).pending) == 2
    async with raw_server(KEPT) as gateway:
        await run(rows(2), log, provider.address, gateway.address)
    assert len(gateway.requests) == 2
    assert read_log(log).pending == {}


async def test_drain_lasts_while_the_gateway_acknowledges(tmp_path: Path) -> None:
    async def acknowledge_slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        await KEPT(writer)

    async with raw_server(answer()) as provider, raw_server(acknowledge_slowly) as gateway:
        await run(rows(5 * CONCURRENCY), tmp_path / "log", provider.address, gateway.address, drain=1.5)
    assert read_log(tmp_path / "log").pending == {}


async def test_rejected_submission_is_not_repeated(tmp_path: Path) -> None:
    async with raw_server(answer()) as provider, raw_server(respond(b"", "400 Bad Request")) as gateway:
        for _ in range(2):
            await run(rows(1), tmp_path / "log", provider.address, gateway.address)
    assert len(gateway.requests) == 1


async def test_stop_ends_after_the_calls_in_flight(tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def answer_and_stop(writer: asyncio.StreamWriter) -> None:
        stop.set()
        await answer()(writer)

    async with raw_server(answer_and_stop) as provider, raw_server(KEPT) as gateway:
        client = ProviderClient(f"http://{provider.address}", SecretStr("key"))
        with IntentLog(tmp_path / "log") as log:
            async with client, SubmissionPoster(SecretStr(f"http://{gateway.address}"), log) as poster:
                running = SendRun(client, log, poster, 1.0, stop)
                await running.run(rows(5))
    assert running.report.count(SendStatus.QUEUED) == len(provider.requests) == 1
