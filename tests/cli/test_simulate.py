"""`postbacks simulate`: options, exit status, and what it says, also as a server."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from cli.__main__ import COMMANDS, postbacks
from runtime.settings import load_settings
from sending.client import ProviderClient
from sending.sms import OutgoingSms
from tests.support.gateway import free_address
from tests.support.process import ROOT, environment, run_module
from tests.support.raw_server import raw_server, respond

KEPT = respond(b"Kept")
EXAMPLE = ROOT / "examples" / "rules.toml"


@dataclass
class Simulation:
    status: int
    output: str
    errors: str

    @property
    def report(self) -> dict[str, object]:
        return dict(json.loads(self.output))


async def simulate(*arguments: str) -> Simulation:
    """Run the command to its end."""
    done = await asyncio.to_thread(run_module, "cli", "simulate", *arguments)
    return Simulation(done.returncode, done.stdout, done.stderr)


@asynccontextmanager
async def simulating(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command for the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "simulate", *arguments),
        cwd=ROOT,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def end(process: asyncio.subprocess.Process) -> Simulation:
    output, errors = await process.communicate()
    assert process.returncode is not None
    return Simulation(process.returncode, output.decode(), errors.decode())


def number_options() -> list[click.Parameter]:
    """The options of all commands that take a number with a fraction."""
    context = click.Context(postbacks)
    commands = [postbacks.get_command(context, name) for name in COMMANDS]
    return [
        parameter
        for command in commands
        if command
        for parameter in command.params
        if isinstance(parameter.type, click.types.FloatParamType)
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("option", number_options(), ids=lambda option: str(option.name))
def test_numbers_that_are_not_finite_are_refused(option: click.Parameter, value: str) -> None:
    with pytest.raises(click.BadParameter):
        option.type.convert(value, option, None)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--listen", "8090"], "'8090': must be host:port"),
        (["--listen", "127.0.0.1:99999"], "must be host:port"),
        (["--listen", "127.0.0.1:0", "--rate", "5"], "--rate is only for runs without --listen"),
        (["--listen", "127.0.0.1:0", "--count", "5"], "--count is only for runs without --listen"),
        (["--listen", "127.0.0.1:0", "--rules", str(EXAMPLE)], "--rules is only for runs without --listen"),
        (["--refused", "0.5"], "--refused is only for runs with --listen"),
        (["--listen", "127.0.0.1:0", "--refused", "2"], "2.0 is not in the range 0<=x<=1"),
        (["--listen", "127.0.0.1:0", "--url", "nonsense"], "must be http://host:port/path"),
        (["--listen", "192.0.2.1:80", "--url", "http://127.0.0.1/"], "--listen"),
    ],
)
def test_wrong_option_is_named(arguments: list[str], problem: str) -> None:
    done = CliRunner().invoke(postbacks, ["simulate", *arguments], obj=lambda: load_settings({}))
    assert done.exit_code == 2
    assert problem in " ".join(done.output.split())


async def test_ledger_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("kept")
    done = await simulate("--listen", "127.0.0.1:0", "--ledger", str(tmp_path / "ledger"))
    assert done.status == 2
    assert "must be a new file" in done.errors
    assert (tmp_path / "ledger").read_text() == "kept"


async def test_address_in_use_leaves_no_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    async with raw_server(KEPT) as other:
        done = await simulate("--listen", other.address, "--ledger", str(ledger))
    assert done.status == 2
    assert "Address already in use" in done.errors
    assert not ledger.exists()


async def test_seed_is_random_and_printed() -> None:
    async with raw_server(KEPT) as gateway:
        plan = ("--url", f"http://{gateway.address}/", "--count", "20", "--rate", "1000", "--json")
        one, other = await simulate(*plan), await simulate(*plan)
        bodies = {request.body for request in gateway.requests[:20]}
        seed = re.findall(r"seed (\d+)", one.errors)
        again = await simulate(*plan, "--seed", *seed)
    assert [one.report["seed"]] == [again.report["seed"]] == [int(number) for number in seed]
    assert one.report["seed"] != other.report["seed"]
    # Dates differ, so compare the ids.
    ids = re.compile(rb"MessageID=([0-9a-f-]{36})")
    assert {ids.findall(body)[0] for body in bodies} == {
        ids.findall(request.body)[0] for request in gateway.requests[40:]
    }
    assert (one.status, other.status, again.status) == (0, 0, 0)


async def test_status_is_1_if_everything_is_refused() -> None:
    async with raw_server(respond(b"", "404 Not Found")) as gateway:
        done = await simulate("--url", f"http://{gateway.address}/TOKEN", "--count", "5", "--json")
    assert done.status == 1
    assert (done.report["answers"], done.report["unsure"]) == ({"404": 5}, 0)
    assert done.report["refused"]


async def test_run_without_answers_says_so_at_once() -> None:
    address = free_address()
    async with simulating("--url", f"http://{address}/TOKEN", "--count", "5") as process:
        assert process.stderr
        first, second = [(await process.stderr.readline()).decode() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        done = await end(process)
    assert f"Posting to {address}" in first
    assert second == f"Nothing answers at {address}; is a gateway running? Retrying\n"
    assert f"Nothing answered at {address}" in done.errors
    assert "TOKEN" not in first + second + done.errors
    assert done.status == 1


async def test_server_takes_calls_and_reports_as_json(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    async with raw_server(KEPT) as gateway:
        url = f"http://{gateway.address}/postback"
        arguments = (
            "--listen",
            "127.0.0.1:0",
            "--url",
            url,
            "--pace",
            "0",
            "--ledger",
            str(ledger),
            "--json",
        )
        async with simulating(*arguments) as process:
            assert process.stderr
            line = (await process.stderr.readline()).decode()
            found = re.fullmatch(r"Taking calls on (http://\S+), seed (\d+); Ctrl-C stops\n", line)
            assert found, line
            async with ProviderClient(found[1], SecretStr("any")) as client:
                await client.send([OutgoingSms("17575449510", "Hi", "74121", "a")])
                await client.send([OutgoingSms("17575449510", "Hi", "74121", "error-3")])
            process.send_signal(signal.SIGTERM)
            done = await end(process)
    report = done.report
    assert (done.status, report["seed"]) == (0, int(found[2]))
    assert (report["calls"], report["accepted"], report["sent_twice"]) == (2, 1, 0)
    assert report["refused"] == {"PhoneNumberInvalid": 1}
    assert gateway.requests
    with closing(sqlite3.connect(ledger)) as database:
        assert database.execute("SELECT reference_id, error FROM answers").fetchall() == [
            ("a", 0),
            ("error-3", 3),
        ]


async def test_server_that_sent_twice_exits_with_1() -> None:
    async with raw_server(KEPT) as gateway:
        arguments = ("--listen", "127.0.0.1:0", "--url", f"http://{gateway.address}/", "--pace", "0")
        async with simulating(*arguments) as process:
            assert process.stderr
            address = (await process.stderr.readline()).decode().split()[3].rstrip(",")
            async with ProviderClient(address, SecretStr("any")) as client:
                for _ in range(2):
                    await client.send([OutgoingSms("17575449510", "Hi", "74121", "a")])
            process.send_signal(signal.SIGINT)
            done = await end(process)
    assert done.status == 1
    assert ["messages", "sent", "twice", "1"] in [line.split() for line in done.output.splitlines()]
