"""Recipients are checked right before each call: nothing is sent to those that have opted out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json
from pydantic import SecretStr

from gateway.postback import format_time
from sending.client import ProviderClient
from sending.contact_check import ContactCheck, Skipped, check_rows
from sending.contacts import MAX_ANSWER_AGE, ContactAnswer, ContactClient, NoAnswer, Unchecked, read_answer
from sending.intent_log import IntentLog, read_log
from sending.intents import SendStatus
from sending.rows import RowDefaults, SendRow, read_csv
from sending.run import SendReport, SendRun, due_rows
from sending.sms import OutgoingSms
from sending.submissions import SubmissionPoster
from tests.support.contact_server import TOKEN, ContactServer, contact_server
from tests.support.gateway import free_address
from tests.support.provider_server import KEPT, answer, recipients
from tests.support.raw_server import RawServer, raw_server

NUMBER = "17575449510"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest_asyncio.fixture
async def contacts() -> AsyncIterator[ContactServer]:
    async with contact_server() as server:
        yield server


def rows(*numbers: str) -> list[SendRow]:
    return read_csv(["to,text,from\n", *(f"{number},Hi,74121\n" for number in numbers)], RowDefaults())


async def ask(url: str, token: str = TOKEN, timeout: float = 20) -> ContactAnswer | Unchecked:
    async with ContactClient(url, SecretStr(token), timeout=timeout) as client:
        return await client.ask(OutgoingSms(NUMBER, "Hi", "74121"))


async def run(
    to_send: list[SendRow],
    log: Path,
    provider: str,
    contacts: ContactServer,
    retry_timeout: float = 0.0,
    connect_retry_timeout: float = 0.0,
    include_suspected: bool = False,
) -> SendReport:
    stop, client = asyncio.Event(), ProviderClient(f"http://{provider}", SecretStr("key"))
    asking = ContactClient(contacts.url, SecretStr(TOKEN))
    async with raw_server(KEPT) as gateway, client, asking:
        with IntentLog(log) as opened:
            check = ContactCheck(
                asking, stop, include_suspected=include_suspected, retry_timeout=retry_timeout
            )
            url = SecretStr(f"http://{gateway.address}/submission")
            async with SubmissionPoster(url, opened) as poster:
                running = SendRun(client, opened, poster, 1000, stop, connect_retry_timeout, check)
                await running.run(due_rows(to_send, opened.state))
                await poster.drain(20)
    return running.report


async def sent_to(provider: RawServer) -> set[str]:
    return set(recipients(provider))


def encoded(**fields: object) -> bytes:
    return json.encode({"number": NUMBER, "verdict": "ok", "as_of": format_time(NOW)} | fields)


@given(
    st.integers(100, 599),
    st.one_of(
        st.binary(max_size=40),
        st.builds(
            encoded,
            number=st.sampled_from([NUMBER, "7575449510", "17575449511", "", 1]),
            verdict=st.sampled_from(["ok", "suspected", "opted_out", "fine", None]),
            as_of=st.sampled_from([NOW, NOW - MAX_ANSWER_AGE, NOW - 2 * MAX_ANSWER_AGE, "soon", None]),
            since=st.sampled_from([NOW, None, 1]),
        ),
    ),
)
def test_only_a_fresh_answer_of_ok_allows(status: int, body: bytes) -> None:
    try:
        found = read_answer(status, body, NUMBER, NOW)
    except NoAnswer:
        return
    if isinstance(found, ContactAnswer):
        fields = json.decode(body)
        assert status == 200
        assert fields["verdict"] == found.verdict
        assert fields["number"] in (NUMBER, "7575449510")
        assert NOW - found.as_of <= MAX_ANSWER_AGE


def test_answer_of_the_contract_is_read() -> None:
    body = encoded(verdict="opted_out", since=format_time(NOW), words="STOP", own_number="74121", account="a")
    found = read_answer(200, body, NUMBER, NOW)
    assert isinstance(found, ContactAnswer)
    assert (found.verdict, found.since, found.words, found.own_number) == ("opted_out", NOW, "STOP", "74121")


async def test_question_names_recipient_and_sender(contacts: ContactServer) -> None:
    found = await ask(contacts.url)
    assert isinstance(found, ContactAnswer)
    assert (found.verdict, contacts.asked) == ("ok", [(NUMBER, "74121")])


async def test_wrong_token_is_named_and_not_retried(contacts: ContactServer) -> None:
    found = await ask(contacts.url, "other")
    assert isinstance(found, Unchecked)
    assert "POSTBACKS_READ_TOKEN" in found.reason
    assert not found.is_about_number


async def test_silent_gateway_is_no_answer() -> None:
    async with raw_server(lambda _: asyncio.sleep(0)) as silent:
        with pytest.raises(NoAnswer, match=r"within 0\.1 s"):
            await ask(f"http://{silent.address}/contact", timeout=0.1)
    with pytest.raises(NoAnswer, match="does not answer"):
        await ask(f"http://{free_address()}/contact")


async def test_opted_out_rows_are_skipped_without_intent(contacts: ContactServer, tmp_path: Path) -> None:
    numbers = ["17575440000", "17575440001", "17575440002"]
    contacts.verdicts = {"7575440000": "opted_out", "7575440001": "suspected"}
    async with raw_server(answer()) as provider:
        report = await run(rows(*numbers), tmp_path / "log", provider.address, contacts)
        assert await sent_to(provider) == {numbers[2]}
        assert {row.sms.to_number: why.reason for row, why in report.skipped} == {
            numbers[0]: "opted out",
            numbers[1]: "suspected to have opted out",
        }
        assert len(read_log(tmp_path / "log").rows) == 1
        contacts.verdicts = {"7575440001": "suspected"}  # the other one has opted in
        await run(rows(*numbers), tmp_path / "log", provider.address, contacts)
    assert recipients(provider) == {numbers[0]: 1, numbers[2]: 1}


async def test_suspected_rows_are_sent_on_request(contacts: ContactServer, tmp_path: Path) -> None:
    contacts.verdicts = {"7575440000": "opted_out", "7575440001": "suspected"}
    async with raw_server(answer()) as provider:
        both = rows("17575440000", "17575440001")
        report = await run(both, tmp_path / "log", provider.address, contacts, include_suspected=True)
        assert await sent_to(provider) == {"17575440001"}
    assert len(report.skipped) == 1


async def test_unavailable_gateway_ends_the_run_unsent(contacts: ContactServer, tmp_path: Path) -> None:
    contacts.failures = [503] * 100
    async with raw_server(answer()) as provider:
        report = await run(rows(NUMBER), tmp_path / "log", provider.address, contacts)
        assert provider.requests == []
    assert report.ended == "recipients cannot be checked: the gateway answers with HTTP status 503"
    assert [why.reason for _, why in report.unchecked] == ["the gateway answers with HTTP status 503"]
    assert read_log(tmp_path / "log").rows == {}


async def test_question_is_retried_while_gateway_restarts(contacts: ContactServer, tmp_path: Path) -> None:
    contacts.failures = [503, 503]
    async with raw_server(answer()) as provider:
        report = await run(rows(NUMBER), tmp_path / "log", provider.address, contacts, retry_timeout=20)
        assert await sent_to(provider) == {NUMBER}
    assert (report.ended, len(contacts.asked)) == ("", 3)


async def test_answer_from_old_data_sends_nothing(contacts: ContactServer, tmp_path: Path) -> None:
    contacts.age = MAX_ANSWER_AGE + timedelta(seconds=10)
    async with raw_server(answer()) as provider:
        report = await run(rows(NUMBER), tmp_path / "log", provider.address, contacts)
        assert provider.requests == []
    assert "the gateway's data is 310 s old" in report.ended


async def test_answer_from_the_future_sends_nothing(contacts: ContactServer, tmp_path: Path) -> None:
    contacts.age = -MAX_ANSWER_AGE - timedelta(seconds=10)
    async with raw_server(answer()) as provider:
        report = await run(rows(NUMBER), tmp_path / "log", provider.address, contacts)
        assert provider.requests == []
    assert "the gateway's clock is 310 s ahead" in report.ended


async def test_invalid_number_does_not_end_the_run(contacts: ContactServer, tmp_path: Path) -> None:
    contacts.failures = [400]
    async with raw_server(answer()) as provider:
        two = rows("17575440000", "17575440001")
        report = await run(two, tmp_path / "log", provider.address, contacts)
        assert len(provider.requests) == 1
    assert (report.ended, len(report.unchecked)) == ("", 1)


async def test_opt_out_between_two_attempts_is_noticed(contacts: ContactServer, tmp_path: Path) -> None:
    """The provider cannot be reached at first; meanwhile the recipient opts out."""
    asked = len(contacts.asked)

    def opt_out_at_second_question() -> None:
        if len(contacts.asked) == asked + 2:
            contacts.verdicts = {"7575449510": "opted_out"}

    contacts.on_question = opt_out_at_second_question
    log = tmp_path / "log"
    report = await run(rows(NUMBER), log, free_address(), contacts, connect_retry_timeout=30)
    assert (len(report.skipped), report.ended, report.results) == (1, "", [])
    (state,) = read_log(log).rows.values()
    assert (state.status, state.detail) == (SendStatus.NOT_SENT, "opted out")


async def test_dry_run_finds_what_would_be_skipped(contacts: ContactServer) -> None:
    contacts.verdicts = {"7575440001": "opted_out"}
    numbers = [f"1757544{number:04d}" for number in range(40)]
    due = rows(*numbers)
    stop = asyncio.Event()
    async with ContactClient(contacts.url, SecretStr(TOKEN)) as client:
        found = await check_rows(ContactCheck(client, stop), due, stop)
        assert [isinstance(why, Skipped) for why in found.values()] == [True]


async def test_dry_run_retries_one_row_only(contacts: ContactServer) -> None:
    contacts.failures = [503] * 1000
    due = rows(*(f"1757544{number:04d}" for number in range(40)))
    stop = asyncio.Event()
    async with ContactClient(contacts.url, SecretStr(TOKEN)) as client:
        check = ContactCheck(client, stop, retry_timeout=0.5)
        async with asyncio.timeout(3):  # each of the others would take as long
            (only,) = (await check_rows(check, due, stop)).values()
        assert isinstance(only, Unchecked)
        contacts.failures = [503]
        stop.clear()
        assert await check_rows(check, due, stop) == {}
