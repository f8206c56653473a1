"""Several gateway processes on one port: they report as one, and one that is killed costs no postback."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.shared_port import reserve_port
from runtime.errors import InvalidSetting
from runtime.process import DONE, REFUSED
from tests.gateway.test_gateway import READY, SECONDS, frozen, sent
from tests.gateway.test_spool_sink import accepted, free_kafka_address, kafka_on, sent_messages
from tests.support.gateway import (
    POLL_SECONDS,
    RunningGateway,
    connection,
    form,
    free_address,
    kept,
    open_gateway,
    post,
    request,
)
from tests.support.kafka import ApacheKafka
from tests.support.process import running

METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def children(gateway: RunningGateway) -> list[int]:
    """The ids of its processes."""
    found = subprocess.run(["pgrep", "-P", str(gateway.process.popen.pid)], capture_output=True, check=False)
    return [int(line) for line in found.stdout.split()]


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(true: Callable[[], bool]) -> None:
    """Look again and again until it is."""
    async with asyncio.timeout(SECONDS):
        while True:
            if true():
                return
            await asyncio.sleep(POLL_SECONDS)


async def until_said(gateway: RunningGateway, status: int, *lines: str) -> None:
    """Wait until /readyz answers that, with lines that begin so."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await request(gateway.ops, READY)
            said = answer.body.decode().splitlines()
            if answer.status == status and len(said) == len(lines) and all(map(str.startswith, said, lines)):
                return
            await asyncio.sleep(POLL_SECONDS)


def spooled(file: Path) -> int:
    """How many records are in a spool that somebody else has open."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        count: int = db.execute("SELECT count(*) FROM record").fetchone()[0]
        return count


async def samples(gateway: RunningGateway) -> dict[str, float]:
    """What /metrics says."""
    text = (await request(gateway.ops, METRICS)).body.decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@contextmanager
def open_two(kafka: str, **settings: str) -> Iterator[RunningGateway]:
    with open_gateway(kafka, processes="2", **settings) as gateway:
        yield gateway


async def test_both_answer_on_one_port_and_report_as_one(fresh_kafka: str) -> None:
    async with AsyncExitStack() as stack:
        with open_two(fresh_kafka) as gateway:
            await until_said(gateway, 200, "ready")
            before = await samples(gateway)
            wires = [await stack.enter_async_context(connection(gateway.address)) for _ in range(40)]
            for wire in wires:
                await wire.send(form(sent(str(uuid4()))))
            assert {(await wire.answer()).status for wire in wires} == {200}
            after = await samples(gateway)
            for name in ("1", "2"):
                files = f'process_open_fds{{process="{name}"}}'
                assert after[files] >= before[files] + 5, "the kernel spreads connections"
            assert after["postbacks_gateway_connections"] == 40
            assert after['postbacks_gateway_requests_total{answer="200",type="sent"}'] == 40
            assert after["postbacks_ready"] == 1


async def test_a_process_that_is_killed_under_load_costs_nothing_that_got_200(fresh_kafka: str) -> None:
    got: list[str] = []

    async def load(address: str, done: asyncio.Event) -> None:
        while not done.is_set():
            message = str(uuid4())
            try:
                answer = await post(address, sent(message))
            except (ConnectionError, asyncio.IncompleteReadError):
                continue  # it was with the one that was killed: the client would come again
            assert answer.status == 200
            got.append(message)

    with open_two(fresh_kafka) as gateway:
        await until_said(gateway, 200, "ready")
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(load(gateway.address, done))
            await gateway.reaches("requests_total", 200)
            killed, stays = children(gateway)
            os.kill(killed, signal.SIGKILL)
            await until_said(
                gateway,
                200,
                "ready, but not all of it",
                "process 1: ended with status -9; starts again in 0.5 s",
            )
            assert (await samples(gateway))["postbacks_ready"] == 0
            await until_said(gateway, 200, "ready")
            count = len(got)
            await until(lambda: len(got) > count + 200)
            done.set()
        assert stays in children(gateway)
        assert killed not in children(gateway)
        assert len(children(gateway)) == 2
        assert await gateway.metric("requests_total") >= len(got), "what the dead one counted stays"
        assert await gateway.metric("connections") == 0, "what the dead one held is gone"
    found = Counter(await sent_messages(fresh_kafka, len(got)))
    assert set(got) <= set(found)


async def test_sigterm_lets_every_process_answer_what_is_in_hand(
    fresh_kafka: str, apache_kafka: ApacheKafka
) -> None:
    async with AsyncExitStack() as stack:
        with open_two(fresh_kafka, ack_timeout="30") as gateway:
            await until_said(gateway, 200, "ready")
            ids = [str(uuid4()) for _ in range(20)]
            wires = [await stack.enter_async_context(connection(gateway.address)) for _ in ids]
            idle = [await stack.enter_async_context(connection(gateway.address)) for _ in ids]
            async with frozen(apache_kafka.nodes[0]):
                for wire, message in zip(wires, ids, strict=True):
                    await wire.send(form(sent(message)))
                await gateway.reaches("request_bytes_total", sum(len(sent(message)) for message in ids))
                pids = children(gateway)
                gateway.process.popen.terminate()
                assert all([await wire.closed() for wire in idle])
                for pid in pids:  # systemd and terminals send their signal to all, in whatever order
                    os.kill(pid, signal.SIGTERM)
            assert {(await wire.answer()).status for wire in wires} == {200}
            assert await asyncio.to_thread(gateway.process.popen.wait, SECONDS) == DONE
            assert not any(map(runs, pids))
        assert set(ids) <= set(await sent_messages(fresh_kafka, len(ids)))


async def test_with_a_parent_that_is_killed_all_end_and_the_next_one_has_the_port(fresh_kafka: str) -> None:
    listen = free_address()
    with open_two(fresh_kafka, listen=listen) as gateway:
        await until_said(gateway, 200, "ready")
        left = children(gateway)
        gateway.process.kill()
        with open_two(fresh_kafka, listen=listen) as successor:
            await until(lambda: not any(map(runs, left)))
            assert (await post(successor.address, sent(str(uuid4())))).status == 200
            assert successor.process.stop() == DONE


async def test_sighup_reaches_all(fresh_kafka: str, capfd: pytest.CaptureFixture[str]) -> None:
    said = ""

    def read(times: int) -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return said.count("Accounts read") == times

    with open_two(fresh_kafka, log_level="info") as gateway:
        await until_said(gateway, 200, "ready")
        assert read(2)
        gateway.process.popen.send_signal(signal.SIGHUP)
        await until(lambda: read(4))
        assert gateway.process.stop() == DONE


async def test_each_has_a_spool_of_its_own_while_kafka_is_away(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    with open_two(kafka, data=str(tmp_path), ack_timeout="0.5") as gateway:
        away = f"kafka: Kafka at {kafka} does not answer"
        await until_said(gateway, 503, f"process 1: {away}", f"process 2: {away}")
        messages = await accepted(gateway, 60)
        await gateway.reaches("spool_records", 60)
        counts = [spooled(file) for file in (tmp_path / "spool").glob("*.spool")]
        assert (len(counts), sum(counts), all(counts)) == (2, 60, True)
        async with kafka_on(kafka, tmp_path / "kafka"):
            await until_said(gateway, 200, "ready")
            assert set(await sent_messages(kafka, 60)) == set(messages)
            await kept(kafka, message_id=messages[0])
            assert gateway.process.stop() == DONE
    assert list((tmp_path / "spool").iterdir()) == []


async def test_what_must_not_run_is_not_tried_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    environment = {
        "POSTBACKS_DATA": str(tmp_path / "file"),
        "POSTBACKS_OPS": "127.0.0.1:0",
        "POSTBACKS_LISTEN": "127.0.0.1:0",
        "POSTBACKS_PROCESSES": "2",
    }
    with running("gateway", environment=environment) as process:
        assert await asyncio.to_thread(process.popen.wait, SECONDS) == REFUSED
    said = capfd.readouterr().err.splitlines()
    assert any(line.startswith(f"POSTBACKS_DATA={tmp_path / 'file'}: must be") for line in said)
    assert said[-1] == "A gateway process cannot run like this; it says why above"


async def test_a_port_that_others_listen_on_is_not_shared_with_them_by_mistake() -> None:
    stop = asyncio.Event()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        stop.set()  # or it would wait for them to end
        with pytest.raises(InvalidSetting, match=f"POSTBACKS_LISTEN={listen}: cannot be used"):
            async with reserve_port(listen, stop):
                pass
    async with reserve_port(listen, asyncio.Event()) as address:
        assert address == listen
