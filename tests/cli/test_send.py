"""`postbacks send`: what it prints, refuses and remembers, also when it is killed."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from msgspec import json

from sending.intent_log import read_log
from sending.intents import SendStatus
from tests.support.process import running
from tests.support.provider_server import answer
from tests.support.raw_server import raw_server, respond
from tests.support.send_command import KEY, invoke, send


def write_csv(folder: Path, count: int) -> Path:
    file = folder / "numbers.csv"
    file.write_text("to,text\n" + "".join(f"1757544{number:04d},Hi\n" for number in range(count)))
    return file


def test_dry_run_shows_segments_and_cost_units(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(f"to,text\n17575449510,{'a' * 161}\n17575449511,{'→' * 71}\n17575449512,Hi\n")
    done = invoke("--csv", file, "--dry-run")
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert done.exit_code == 0
    assert {"Messages to send 3", "in GSM-7 2", "in UCS-2 1", "Cost units 5 one per segment"} <= set(lines)
    assert "line 3: UCS-2 because of '→', segments: 2" in lines
    assert list(tmp_path.iterdir()) == [file], "a dry run writes nothing"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["Hi"], "either --to or --csv is required"),
        (["--to", "none", "Hi"], "to_number='none': must be a phone number"),
        (["--to", "17575449510"], "text='': must not be empty"),
        (["--to", "17575449510", "--at", "soon", "Hi"], "--at='soon': must be a time such as"),
        (["--to", "17575449510", "--again", "unknown", "Hi"], "--again is only for --csv"),
        (["--csv", "/nowhere.csv"], "does not exist"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], problem: str) -> None:
    done = invoke(*arguments, license_key=KEY)
    assert done.exit_code == 2
    assert problem in " ".join(done.output.split())


def test_invalid_row_sends_nothing(tmp_path: Path) -> None:
    file = write_csv(tmp_path, 3)
    file.write_text(file.read_text() + "none,Hi\n")
    done = invoke("--csv", file, license_key=KEY, provider="http://127.0.0.1:1")
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [file])
    assert "nothing was sent" in done.output
    assert "line 5: to_number='none'" in done.output


async def test_missing_license_key_is_named(tmp_path: Path) -> None:
    async with raw_server(answer()) as server:
        status, _, errors = await send(server, server, tmp_path, "--to", "17575449510", "Hi", license_key="")
    assert (status, server.requests) == (2, [])
    assert errors.startswith("POSTBACKS_LICENSE_KEY is not set")


async def test_message_is_sent_and_its_answer_posted(tmp_path: Path) -> None:
    async with raw_server(answer()) as provider, raw_server(respond(b"Kept")) as gateway:
        status, output, _ = await send(
            provider, gateway, tmp_path, "--to", "17575449510", "--from", "74121", "--at", "2030-01-01", "Hi"
        )
    assert (status, output.split()) == (0, ["Queued", "1"])
    (sent,) = json.decode(provider.requests[0].body)["SMSRequests"]
    assert (sent["PhoneNumbers"], sent["AssignedDID"]) == (["17575449510"], "74121")
    assert sent["ScheduledDateTime"] == "/Date(1893456000000)/"
    assert gateway.requests[0].target == "/submission/TOKEN"
    assert KEY.encode() not in gateway.requests[0].body
    assert not (tmp_path / "send.log").exists(), "the log is not needed any more"


async def test_refusal_says_what_to_do(tmp_path: Path) -> None:
    refusal = respond(b'[{"MessageID":null,"SMSError":6}]')
    async with raw_server(refusal) as provider, raw_server(respond(b"Kept")) as gateway:
        status, output, _ = await send(provider, gateway, tmp_path, "--to", "17575449510", "Hi")
    assert status == 1
    assert "Send from a number that is assigned to the licence key" in output


async def test_other_options_for_the_same_log_are_refused(tmp_path: Path) -> None:
    file = write_csv(tmp_path, 2)
    async with raw_server(answer()) as provider, raw_server(respond(b"Kept")) as gateway:
        await send(provider, gateway, tmp_path, "--csv", file, "--from", "74121")
        status, _, errors = await send(provider, gateway, tmp_path, "--csv", file)
    assert (status, len(provider.requests)) == (2, 2)
    assert "from_number was '74121'" in errors


async def test_killed_run_sends_no_row_twice(tmp_path: Path) -> None:
    file = write_csv(tmp_path, 40)
    settings = {"license_key": KEY, "data": tmp_path}
    kill = asyncio.Event()

    async def queue_and_kill_sometimes(writer: asyncio.StreamWriter) -> None:
        """Every tenth request kills the sender: half of them before the answer, half of them after it."""
        count = len(provider.requests)
        if count % 20 == 10:
            kill.set()
        else:
            await answer()(writer)
        if count % 20 == 0:
            kill.set()

    killed = 0
    async with raw_server(queue_and_kill_sometimes) as provider, raw_server(respond(b"Kept")) as gateway:
        settings |= {
            "provider": f"http://{provider.address}",
            "submission_url": f"http://{gateway.address}/submission",
        }
        while True:
            kill.clear()
            with running("cli", "send", "--unchecked", "--csv", file, "--rate", "40", **settings) as process:
                exited = asyncio.create_task(process.wait())
                killing = asyncio.create_task(kill.wait())
                await asyncio.wait((exited, killing), return_when=asyncio.FIRST_COMPLETED)
                killing.cancel()
                process.kill()
                status = await exited
            if status != -9:
                break
            killed += 1
    sent = Counter(
        json.decode(request.body)["SMSRequests"][0]["PhoneNumbers"][0] for request in provider.requests
    )
    assert killed >= 2
    assert max(sent.values()) == 1
    state = read_log(file.with_name("numbers.csv.sends"))
    statuses = Counter(row.status for row in state.rows.values())
    assert set(statuses) == {SendStatus.QUEUED, SendStatus.UNKNOWN}
    assert statuses.total() == 40
    posted = {
        json.decode(request.body)["request"]["SMSRequests"][0]["ReferenceID"] for request in gateway.requests
    }
    assert posted == {row.reference_id for row in state.rows.values() if row.status is SendStatus.QUEUED}
    assert state.pending == {}
    assert status == 1, "rows are unknown"
