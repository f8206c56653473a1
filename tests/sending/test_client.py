"""The client of the provider's API sends each message at most once, and says how each send ended."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from msgspec import json
from pydantic import SecretStr

from sending.client import MAX_ANSWER_BYTES, ProviderClient
from sending.outcomes import Answered, NotSent, Rejected, SendOutcome, Unknown
from sending.sms import OutgoingSms
from tests.support.gateway import free_address
from tests.support.raw_server import (
    RawServer,
    Reaction,
    hang_up,
    raw_server,
    reset,
    respond,
    stay_silent,
    trickle,
    write,
)

KEY = "f01d89fd-5155-5455-5585-e84ab8de8591"
ID = "1627aea5-8e0a-4371-9022-9b504344e724"
QUEUED = b'{"MessageID":"%s","Queued":true,"ReferenceID":"","SMSError":0}' % ID.encode()
SMS = OutgoingSms("17575449510", "Hi & bye", status_postback_url="https://acme.example/postback/TOKEN?a=1")

Call: TypeAlias = Callable[[ProviderClient], Awaitable[SendOutcome]]


def advanced(client: ProviderClient) -> Awaitable[SendOutcome]:
    return client.send([SMS])


def simple(client: ProviderClient) -> Awaitable[SendOutcome]:
    return client.send_simple(SMS)


both = pytest.mark.parametrize("call", [advanced, simple])


def client_of(server: RawServer, timeout: float = 20.0) -> ProviderClient:
    return ProviderClient(f"http://{server.address}/sms.svc", SecretStr(KEY), timeout=timeout)


@both
@pytest.mark.parametrize("interruption", [hang_up, reset, write(b"HTTP/1.1 200 OK\r\n")])
async def test_interrupted_request_is_sent_once(call: Call, interruption: Reaction) -> None:
    async def interrupt(writer: asyncio.StreamWriter) -> None:
        await interruption(writer)
        writer.close()

    async with raw_server(interrupt, respond(QUEUED)) as server, client_of(server) as client:
        outcome = await call(client)
        # A repeat would come on a new connection; this one proves that none did.
        assert await call(client) == Answered.of(QUEUED)
    assert isinstance(outcome, Unknown), outcome
    assert len(server.requests) == 2


@both
@pytest.mark.parametrize("interruption", [hang_up, reset])
async def test_request_on_reused_connection_is_sent_once(call: Call, interruption: Reaction) -> None:
    async with (
        raw_server(respond(QUEUED), interruption, respond(QUEUED)) as server,
        client_of(server) as client,
    ):
        first = await call(client)
        second = await call(client)
        assert [request.connection for request in server.requests] == [1, 1], "the connection is not reused"
        third = await call(client)
    assert isinstance(first, Answered)
    assert isinstance(second, Unknown)
    assert "closed" in second.reason or "reset" in second.reason
    assert isinstance(third, Answered)
    assert len(server.requests) == 3


async def test_advanced_call_posts_the_documented_json() -> None:
    async with raw_server(respond(b"[" + QUEUED + b"]")) as server, client_of(server) as client:
        outcome = await client.send([SMS])
    (request,) = server.requests
    assert request.target == "/sms.svc/AdvancedSMSsend"
    assert json.decode(request.body)["SMSRequests"][0]["Message"] == "Hi & bye"
    assert isinstance(outcome, Answered)
    assert outcome.answers[0].message_id == ID


async def test_simple_call_has_its_parameters_in_the_query() -> None:
    async with raw_server(respond(QUEUED)) as server, client_of(server) as client:
        await client.send_simple(SMS)
    (request,) = server.requests
    parts = urlsplit(request.target)
    assert parts.path == "/sms.svc/SimpleSMSsendWithPostback"
    assert parse_qs(parts.query) == {
        "PhoneNumber": ["17575449510"],
        "Message": ["Hi & bye"],
        "LicenseKey": [KEY],
        "StatusPostBackURL": ["https://acme.example/postback/TOKEN?a=1"],
    }


@both
async def test_refusal_is_an_answer_that_says_what_to_do(call: Call) -> None:
    refusal = QUEUED.replace(b'"SMSError":0', b'"SMSError":6')
    async with raw_server(respond(refusal)) as server, client_of(server) as client:
        outcome = await call(client)
    assert isinstance(outcome, Answered)
    assert outcome.answers[0].error_name == "InvalidAssignedDID"
    assert "Send from a number that is assigned" in outcome.answers[0].explanation


@both
@pytest.mark.parametrize(
    ("reaction", "reason"),
    [
        (stay_silent, "no complete answer within 0.3 s"),
        (trickle(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 99, 0.05), "no complete answer within 0.3 s"),
        (write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "no complete answer within 0.3 s"),
        (respond(b"", "500 Internal Server Error"), "the provider answered with HTTP status 500"),
        (respond(QUEUED, "503 Service Unavailable"), "the provider answered with HTTP status 503"),
        (respond(b"", "302 Found", "Location: /elsewhere\r\n"), "the provider answered with HTTP status 302"),
        (respond(b"", "408 Request Timeout"), "the provider answered with HTTP status 408"),
        (respond(b"<html>Busy</html>"), "the answer has no SMSResponse"),
        (respond(b""), "the answer is neither JSON nor XML"),
        (respond(b"[" + b" " * MAX_ANSWER_BYTES + b"]"), "the answer has more than"),
        (write(b"garbage\r\n\r\n"), "the answer is not valid HTTP"),
    ],
)
async def test_outcome_without_usable_answer_is_unknown(call: Call, reaction: Reaction, reason: str) -> None:
    timeout = 0.3 if "0.3 s" in reason else 20.0
    async with raw_server(reaction) as server, client_of(server, timeout) as client:
        outcome = await call(client)
    assert isinstance(outcome, Unknown), outcome
    assert reason in outcome.reason
    assert len(server.requests) == 1


@both
@pytest.mark.parametrize(
    "status", ["301 Moved", "307 Temporary Redirect", "400 Bad Request", "404 Not Found"]
)
async def test_call_rejected_as_such_is_not_unknown(call: Call, status: str) -> None:
    reaction = respond(b"", status, "Location: /elsewhere\r\n")
    async with raw_server(reaction) as server, client_of(server) as client:
        outcome = await call(client)
    assert outcome == Rejected(int(status[:3]))
    assert len(server.requests) == 1, "the redirect is followed"


@both
async def test_refused_connection_is_certainly_not_sent(call: Call) -> None:
    async with ProviderClient(f"http://{free_address()}", SecretStr(KEY)) as client:
        outcome = await call(client)
    assert isinstance(outcome, NotSent)
    assert "Connect call failed" in outcome.reason


@both
async def test_unknown_host_is_certainly_not_sent(call: Call) -> None:
    async with ProviderClient("http://nowhere.invalid", SecretStr(KEY)) as client:
        assert isinstance(await call(client), NotSent)


@both
async def test_untrusted_certificate_is_certainly_not_sent(call: Call) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    host, port = listener.sockets[0].getsockname()
    async with listener, ProviderClient(f"https://{host}:{port}", SecretStr(KEY)) as client:
        outcome = await call(client)
    assert isinstance(outcome, NotSent)
    assert "certificate" in outcome.reason


async def test_array_of_another_length_is_kept_as_answered() -> None:
    refusal = QUEUED.replace(b'"SMSError":0', b'"SMSError":2')
    async with raw_server(respond(b"[" + refusal + b"]")) as server, client_of(server) as client:
        outcome = await client.send([SMS, SMS])
    assert isinstance(outcome, Answered)
    assert [answer.error_name for answer in outcome.answers] == ["LicenseKeyInvalid"]


@both
@pytest.mark.parametrize(
    "reaction",
    [
        respond(QUEUED),
        respond(b"", "500 Error"),
        respond(b"?"),
        hang_up,
        stay_silent,
        write(b"garbage\r\n\r\n"),
        respond(b"", "301 Moved", "Location: http://127.0.0.1:1/?LicenseKey=" + KEY + "\r\n"),
    ],
)
async def test_license_key_is_neither_logged_nor_shown(
    call: Call, reaction: Reaction, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with raw_server(reaction) as server, client_of(server, timeout=1.0) as client:
        shown = f"{await call(client)!r} {client!r} {vars(client)!r}"
    assert KEY in server.requests[0].target + server.requests[0].body.decode()
    assert KEY not in shown + caplog.text
    assert "TOKEN" not in shown + caplog.text


@both
async def test_cancelled_call_shows_no_license_key(call: Call) -> None:
    received = asyncio.Event()

    async def receive(_: asyncio.StreamWriter) -> None:
        received.set()

    async with raw_server(receive) as server, client_of(server) as client:
        task = asyncio.ensure_future(call(client))
        await received.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as error:
            await task
    assert KEY not in repr(error.value) + repr(error.value.__context__)


@pytest.mark.parametrize(
    "url",
    ["sms2.cdyne.com", "ftp://x/y", "http://", "https://user@x/y", "https://x/y?a=b", "https://x:99999/"],
)
def test_url_of_the_api_is_checked(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be https://host/path"):
        ProviderClient(url, SecretStr(KEY))


def test_empty_license_key_is_refused() -> None:
    with pytest.raises(ValueError, match="licence key"):
        ProviderClient("https://x/y", SecretStr(""))
