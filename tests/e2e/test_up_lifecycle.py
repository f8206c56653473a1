"""`postbacks up` starts, restarts, drains and exits; refused options and settings."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from cli.up.stack_file import lock_data_dir
from runtime.clickhouse.client import Reader
from tests.support.process import running
from tests.support.samples import numbered_id, numbered_sent
from tests.support.stack import SHORT_SESSION, Stack, command, free_port_options, stack


@pytest.mark.engine
def test_killed_stack_leaves_no_process_and_continues(tmp_path: Path) -> None:
    with stack(tmp_path, settings=SHORT_SESSION) as first:
        assert first.post(numbered_sent(1)) == 200
        first.wait_for_result("SELECT count() FROM messages", "1")
        pidfds = [os.pidfd_open(pid) for pid in first.children().values()]
        first.popen.kill()
        wait_all_exited(pidfds)
    with stack(tmp_path, settings=SHORT_SESSION) as second:
        assert second.query("SELECT count() FROM messages") == "1"
        assert second.post(numbered_sent(2)) == 200
        second.wait_for_result("SELECT count() FROM messages", "2")
        assert second.query("SELECT count(), uniqExact(cluster) FROM postbacks FINAL") == "2\t1"
        assert second.send_signal() == 0


@pytest.mark.engine
def test_everything_accepted_is_in_clickhouse_after_ctrl_c(tmp_path: Path) -> None:
    with stack(tmp_path, "--simulate", "100") as running_stack:
        pidfds = [os.pidfd_open(pid) for pid in running_stack.children().values()]
        # It reports what it has posted only if it runs when the stack is interrupted.
        running_stack.wait_for_result("SELECT count() > 0 FROM events WHERE type = 'response'", "1")
        accepted = asyncio.run(post_until_interrupted(running_stack))
        assert running_stack.wait() == 0
        assert "everything accepted is in ClickHouse" in running_stack.lines[-1]
        wait_all_exited(pidfds)
        simulated = simulators_report(running_stack.lines)
    with running("embedded", "clickhouse", "--port", "0", "--data", tmp_path) as clickhouse:
        url = clickhouse.read_line() + "/postbacks"
        posted = f"message_id BETWEEN toUUID('{numbered_id(0)}') AND toUUID('{numbered_id(10**9)}')"
        stored = tsv(url, f"SELECT toString(message_id), count() FROM events WHERE {posted} GROUP BY ALL")
        merged = tsv(url, f"SELECT toString(message_id) FROM messages WHERE {posted}")
        types = tsv(url, f"SELECT type, count() FROM events WHERE NOT ({posted}) GROUP BY ALL")
        statuses = tsv(url, f"SELECT status, count() FROM messages WHERE NOT ({posted}) GROUP BY ALL")
    assert len(accepted) >= 500
    assert accepted <= {name for name, _ in stored}
    assert {count for _, count in stored} == {"1"}
    assert sorted(name for name, _ in stored) == sorted(name for (name,) in merged)
    assert simulated["unacknowledged events"] == 0  # the simulator stops before the gateway
    assert {name: int(count) for name, count in types} == {
        name: simulated[name] for name in ("sent", "response", "receipt")
    }
    assert sum(int(count) for _, count in statuses) == simulated["messages"]


def tsv(url: str, query: str) -> list[list[str]]:
    result = b"".join(Reader(SecretStr(url)).query(query, "TSV"))
    return [line.split("\t") for line in result.decode().splitlines()]


def simulators_report(lines: list[str]) -> dict[str, int]:
    """Counts by name. Of a name that occurs twice the first, which counts a type of postback."""
    found: dict[str, int] = {}
    for line in lines:
        if match := re.fullmatch(r"simulator  \| +(\S.*?)  +([\d,]+)", line):
            found.setdefault(match[1], int(match[2].replace(",", "")))
    return found


async def post_until_interrupted(up: Stack) -> set[str]:
    """Post as fast as possible, interrupt the stack meanwhile, and go on until it refuses connections."""
    accepted: set[str] = set()
    numbers = iter(range(1_000_000))

    async def post(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            try:
                async with session.post(up.url, data=numbered_sent(number)) as response:
                    if response.status in (200, 202):
                        accepted.add(numbered_id(number))
            except aiohttp.ClientError:
                return
            if len(accepted) == 500:
                up.popen.send_signal(signal.SIGINT)  # exactly once: a second signal kills

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(post(session) for _ in range(32)))
    return accepted


@pytest.mark.engine
def test_second_signal_kills_everything(tmp_path: Path) -> None:
    with stack(tmp_path) as running_stack:
        pids = running_stack.children()
        pidfds = [os.pidfd_open(pid) for pid in pids.values()]
        os.kill(pids["streams"], signal.SIGSTOP)  # so that it cannot drain
        assert running_stack.post(numbered_sent(1)) == 200
        running_stack.popen.send_signal(signal.SIGTERM)
        running_stack.wait_for_line("streams has 1 records left")
        assert running_stack.send_signal() == 1
        wait_all_exited(pidfds)


def wait_all_exited(pidfds: list[int]) -> None:
    """Wait until all processes have exited."""
    while pidfds:
        exited, _, _ = select.select(pidfds, [], [], 60)
        assert exited, "a process outlives the stack"
        for pidfd in exited:
            pidfds.remove(pidfd)
            os.close(pidfd)


@pytest.mark.parametrize("before", [True, False])
def test_folder_may_precede_or_follow_the_command(before: bool, tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    with lock_data_dir(tmp_path):
        arguments = (*data, "up") if before else ("up", *data)
        done = command(*arguments, "--port", "0", "--kafka-port", "0", "--clickhouse-port", "0", settings={})
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Another `postbacks up` uses {tmp_path}." in done.stderr


def test_port_in_use_error_names_the_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = command("up", "--kafka-port", port, "--port", "0", "--data", str(tmp_path), settings={})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"Port {port} on 127.0.0.1 cannot be used: Address already in use. Choose another with --kafka-port"
    )


@pytest.mark.parametrize(
    ("setting", "value", "option"),
    [
        ("POSTBACKS_KAFKA", "127.0.0.1:9092", "--kafka-port"),
        ("POSTBACKS_CLICKHOUSE", "http://default:@127.0.0.1:8123/postbacks", "--clickhouse-port"),
    ],
)
def test_port_of_a_configured_engine_is_refused(
    setting: str, value: str, option: str, tmp_path: Path
) -> None:
    done = command("up", option, "0", "--port", "0", "--data", str(tmp_path), settings={setting: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{option} is for the embedded engine, and {setting} names another" in done.stderr


def test_invalid_setting_is_refused_by_name(tmp_path: Path) -> None:
    done = command("up", "--data", str(tmp_path), settings={"POSTBACKS_PARTITIONS": "many"})
    assert done.returncode == 2
    assert done.stderr.startswith("POSTBACKS_PARTITIONS=many: ")


def test_process_that_refuses_to_run_ends_the_stack(
    fresh_kafka: str, prepared_database: str, tmp_path: Path
) -> None:
    settings = {
        "POSTBACKS_LISTEN": "0.0.0.0:8080",  # public, but without tokens
        "POSTBACKS_KAFKA": fresh_kafka,
        "POSTBACKS_CLICKHOUSE": prepared_database,
    }
    done = command("up", *free_port_options(settings), "--data", str(tmp_path), settings=settings)
    assert done.returncode == 2
    assert "gateway    | " in done.stdout
    assert "loopback" in done.stdout
    assert done.stderr.strip().endswith("gateway cannot run like this; the reason is above")


async def test_configured_kafka_is_used_and_keeps_its_data(fresh_kafka: str, tmp_path: Path) -> None:
    settings = {"POSTBACKS_KAFKA": fresh_kafka}
    with stack(tmp_path, settings=settings) as running_stack:
        assert "kafka" not in running_stack.children()
        assert running_stack.post(numbered_sent(1)) == 200
        assert running_stack.send_signal() == 0
    with stack(tmp_path, settings=settings) as running_stack:
        assert running_stack.query("SELECT count() FROM messages") == "1"
        assert running_stack.post(numbered_sent(2)) == 200
        running_stack.wait_for_result("SELECT count() FROM messages", "2")
        assert running_stack.query("SELECT count(), uniqExact(cluster) FROM postbacks") == "2\t1"
