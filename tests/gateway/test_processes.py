"""Several gateway processes on one port report as one, and a killed one loses no acknowledged postback."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.processes import reserve_port
from runtime.errors import InvalidSetting
from runtime.process import DONE, REFUSED
from tests.support.gateway import (
    TIMEOUT,
    RunningGateway,
    connect,
    find_record,
    form_request,
    free_address,
    open_gateway,
    post,
    sent_form,
)
from tests.support.kafka import ApacheKafka, frozen
from tests.support.process import child_processes, run_module, stderr_in
from tests.support.spool import free_kafka_address, kafka_at, sent_message_ids, spool_postbacks
from tests.support.wait import eventually


def pids_of(gateway: RunningGateway) -> list[int]:
    """The ids of its processes, in the order in which they were started."""
    return sorted(child_processes(gateway.process.popen.pid))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def wait_readyz(gateway: RunningGateway, status: int, *lines: str) -> None:
    """Wait until /readyz answers with that status and lines that start like these."""

    def matches(page: tuple[int, str]) -> bool:
        found = page[1].splitlines()
        return page[0] == status and len(found) == len(lines) and all(map(str.startswith, found, lines))

    await eventually(lambda: gateway.page("readyz"), f"{status} with {lines}", matches)


def spooled(file: Path) -> int:
    """The number of records in a spool that another process has open."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        count: int = db.execute("SELECT count(*) FROM record").fetchone()[0]
        return count


@contextmanager
def open_two(kafka: str, **settings: object) -> Iterator[RunningGateway]:
    with open_gateway(kafka, processes=2, **settings) as gateway:
        yield gateway


async def test_processes_share_one_port_and_report_as_one(fresh_kafka: str) -> None:
    async with AsyncExitStack() as stack:
        with open_two(fresh_kafka) as gateway:
            await wait_readyz(gateway, 200, "ready")
            before = gateway.samples()
            wires = [await stack.enter_async_context(connect(gateway.address)) for _ in range(40)]
            for wire in wires:
                await wire.send(form_request(sent_form()))
            assert {(await wire.response()).status for wire in wires} == {200}
            after = gateway.samples()
            for name in ("1", "2"):
                files = f'process_open_fds{{process="{name}"}}'
                assert after[files] >= before[files] + 5, "the kernel spreads connections"
            assert after["postbacks_gateway_connections"] == 40
            assert after['postbacks_gateway_requests_total{answer="200",type="sent"}'] == 40
            assert after["postbacks_ready"] == 1


async def test_killed_process_loses_no_acknowledged_postback(fresh_kafka: str) -> None:
    acknowledged: list[str] = []

    async def load(address: str, done: asyncio.Event) -> None:
        while not done.is_set():
            message = str(uuid4())
            try:
                response = await post(address, sent_form(message))
            except (ConnectionError, asyncio.IncompleteReadError):
                continue  # sent to the killed process: a client would retry
            assert response.status == 200
            acknowledged.append(message)

    with open_two(fresh_kafka) as gateway:
        await wait_readyz(gateway, 200, "ready")
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(load(gateway.address, done))
            await gateway.wait_for_metric("postbacks_gateway_requests_total", 200)
            killed, survivor = pids_of(gateway)
            os.kill(killed, signal.SIGKILL)
            restarting = "process 1: exited with status -9; restarting in 0.5 s"
            await wait_readyz(gateway, 200, "ready, but degraded", restarting)
            assert gateway.metric("postbacks_ready") == 0
            await wait_readyz(gateway, 200, "ready")
            count = len(acknowledged)
            await eventually(lambda: len(acknowledged) > count + 200, "further postbacks acknowledged")
            done.set()
        assert survivor in pids_of(gateway)
        assert killed not in pids_of(gateway)
        assert len(pids_of(gateway)) == 2
        counted = gateway.metric("postbacks_gateway_requests_total")
        assert counted >= len(acknowledged), "counters of the killed process are kept"
        assert gateway.metric("postbacks_gateway_connections") == 0, "its gauges are dropped"
    found = Counter(await sent_message_ids(fresh_kafka, len(acknowledged)))
    assert set(acknowledged) <= set(found)


async def test_sigterm_finishes_requests_of_every_process(
    fresh_kafka: str, apache_kafka: ApacheKafka
) -> None:
    async with AsyncExitStack() as stack:
        with open_two(fresh_kafka, ack_timeout=30) as gateway:
            await wait_readyz(gateway, 200, "ready")
            ids = [str(uuid4()) for _ in range(20)]
            wires = [await stack.enter_async_context(connect(gateway.address)) for _ in ids]
            idle = [await stack.enter_async_context(connect(gateway.address)) for _ in ids]
            async with frozen(apache_kafka.nodes[0]):
                for wire, message in zip(wires, ids, strict=True):
                    await wire.send(form_request(sent_form(message)))
                size = sum(len(sent_form(message)) for message in ids)
                await gateway.wait_for_metric("postbacks_gateway_request_bytes_total", size)
                pids = pids_of(gateway)
                gateway.process.popen.terminate()
                assert all([await wire.wait_closed() for wire in idle])
                for pid in pids:  # as systemd does, in any order
                    os.kill(pid, signal.SIGTERM)
            assert {(await wire.response()).status for wire in wires} == {200}
            assert await gateway.process.wait(TIMEOUT) == DONE
            assert not any(map(is_running, pids))
        assert set(ids) <= set(await sent_message_ids(fresh_kafka, len(ids)))


async def test_killed_supervisor_frees_the_port(fresh_kafka: str) -> None:
    listen = free_address()
    with open_two(fresh_kafka, listen=listen) as gateway:
        await wait_readyz(gateway, 200, "ready")
        orphans = pids_of(gateway)
        gateway.process.kill()
        with open_two(fresh_kafka, listen=listen) as successor:
            await eventually(lambda: not any(map(is_running, orphans)), "the orphans have exited")
            assert (await post(successor.address, sent_form())).status == 200
            assert successor.process.stop() == DONE


async def test_sighup_reloads_every_process(fresh_kafka: str, tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"

    def loaded(times: int) -> bool:
        return log.read_text().count("Accounts loaded") == times

    with stderr_in(log), open_two(fresh_kafka, log_level="info") as gateway:
        await wait_readyz(gateway, 200, "ready")
        assert loaded(2)
        gateway.process.popen.send_signal(signal.SIGHUP)
        await eventually(lambda: loaded(4), "both have loaded the accounts again")
        assert gateway.process.stop() == DONE


@pytest.mark.engine
async def test_each_process_has_its_own_spool(tmp_path: Path) -> None:
    kafka = free_kafka_address()
    with open_two(kafka, data=tmp_path, ack_timeout=0.5) as gateway:
        reason = f"kafka: Kafka at {kafka} does not answer"
        await wait_readyz(gateway, 503, f"process 1: {reason}", f"process 2: {reason}")
        messages = await spool_postbacks(gateway, 60)
        await gateway.wait_for_metric("postbacks_gateway_spool_records", 60)
        counts = [spooled(file) for file in (tmp_path / "spool").glob("*.spool")]
        assert (len(counts), sum(counts), all(counts)) == (2, 60, True)
        async with kafka_at(kafka, tmp_path / "kafka"):
            await wait_readyz(gateway, 200, "ready")
            assert set(await sent_message_ids(kafka, 60)) == set(messages)
            await find_record(kafka, message_id=messages[0])
            # A record is in Kafka before the gateway learns of it, and removes it from the spool.
            await eventually(lambda: gateway.metric("postbacks_gateway_spool_records") == 0, "spools empty")
            assert gateway.process.stop() == DONE
    assert list((tmp_path / "spool").iterdir()) == []


def test_refused_settings_are_not_retried(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    anywhere = "127.0.0.1:0"
    done = run_module("gateway", data=tmp_path / "file", ops=anywhere, listen=anywhere, processes=2)
    assert done.returncode == REFUSED
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"POSTBACKS_DATA={tmp_path / 'file'}: must be") for line in lines)
    assert lines[-1].endswith("cannot run like this; the reason is above")


async def test_port_of_another_process_is_not_shared() -> None:
    stop = asyncio.Event()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        stop.set()  # do not wait until it is free
        with pytest.raises(InvalidSetting, match=f"POSTBACKS_LISTEN={listen}: cannot be used"):
            async with reserve_port(listen, stop):
                pass
    async with reserve_port(listen, asyncio.Event()) as address:
        assert address == listen
