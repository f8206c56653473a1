"""`postbacks send` and recipients that have opted out: what it skips, prints and refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.contact_server import TOKEN, contact_server
from tests.support.provider_server import answer
from tests.support.raw_server import raw_server, respond
from tests.support.send_command import KEY, invoke, send

NUMBERS = ("17575440000", "17575440001", "17575440002")


def write_csv(folder: Path, *numbers: str) -> Path:
    file = folder / "numbers.csv"
    file.write_text("to,text\n" + "".join(f"{number},Hi\n" for number in numbers))
    return file


def lines_of(output: str) -> list[str]:
    return [" ".join(line.split()) for line in output.splitlines()]


async def test_skipped_rows_are_counted_and_listed(tmp_path: Path) -> None:
    file = write_csv(tmp_path, *NUMBERS)
    async with (
        raw_server(answer()) as provider,
        raw_server(respond(b"")) as gateway,
        contact_server() as contacts,
    ):
        contacts.verdicts = {"7575440000": "opted_out", "7575440001": "suspected"}
        settings = {"read_token": TOKEN, "contact_url": contacts.url}
        status, output, errors = await send(provider, gateway, tmp_path, "--csv", file, **settings)
    assert (status, errors, len(provider.requests)) == (0, "", 1), "skipping is a success"
    assert {
        "Queued 1",
        "Skipped: opted out 1",
        "Skipped: suspected to have opted out 1",
        "line 2: opted out since 2026-11-23 12:00:00, “Stop \\x1b[0m.”",
        "line 3: suspected to have opted out since 2026-11-23 12:00:00, “Stop \\x1b[0m.”",
    } <= set(lines_of(output))
    assert TOKEN not in output


async def test_unchecked_send_warns(tmp_path: Path) -> None:
    async with raw_server(answer()) as provider, raw_server(respond(b"")) as gateway:
        status, _, errors = await send(provider, gateway, tmp_path, "--to", NUMBERS[0], "Hi")
    assert (status, len(provider.requests)) == (0, 1)
    assert errors == "Warning: recipients are not checked; some may have opted out\n"


async def test_missing_read_token_sends_nothing(tmp_path: Path) -> None:
    async with raw_server(answer()) as server:
        status, _, errors = await send(server, server, tmp_path, "--to", NUMBERS[0], "Hi", read_token="")
    assert (status, server.requests) == (2, [])
    assert errors.startswith("POSTBACKS_READ_TOKEN is not set")
    assert "postbacks token --read" in errors


async def test_unanswered_question_sends_nothing(tmp_path: Path) -> None:
    """A wrong token is not retried."""
    file = write_csv(tmp_path, *NUMBERS)
    async with (
        raw_server(answer()) as provider,
        raw_server(respond(b"")) as gateway,
        contact_server() as contacts,
    ):
        settings = {"read_token": "wrong", "contact_url": contacts.url}
        status, output, _ = await send(provider, gateway, tmp_path, "--csv", file, **settings)
    assert (status, provider.requests) == (1, [])
    assert "Not sent, as the recipient could not be checked:" in output
    assert "The run ended early: recipients cannot be checked: the gateway does not know" in output


async def test_dry_run_lists_what_would_be_skipped(tmp_path: Path) -> None:
    file = write_csv(tmp_path, *NUMBERS)
    async with contact_server() as contacts:
        contacts.verdicts = {"7575440001": "suspected"}
        settings = {"license_key": KEY, "contact_url": contacts.url, "data": tmp_path}

        async def dry_run(*options: str, token: str) -> str:
            arguments = ("--csv", file, "--dry-run", *options)
            done = await asyncio.to_thread(invoke, *arguments, read_token=token, **settings)
            assert done.exit_code == 0, done.output
            return done.output

        output = await dry_run(token=TOKEN)
        assert "Would not be sent now: suspected to have opted out 1" in output
        assert "  line 3: suspected to have opted out since" in output
        included = await dry_run("--include-suspected", token=TOKEN)
        assert "No recipient would be skipped." in included
        unknown = "Which numbers have opted out is not known: "
        assert f"{unknown}POSTBACKS_READ_TOKEN is not set" in await dry_run(token="")
        assert f"{unknown}the gateway does not know POSTBACKS_READ_TOKEN" in await dry_run(token="other")
