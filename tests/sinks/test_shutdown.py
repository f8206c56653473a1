"""When a sink ends by itself, and what it says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from gateway.postback import SENT, encode
from runtime.health import Health
from runtime.kafka.group_monitor import GroupMonitor
from runtime.kafka.group_reader import GroupReader
from runtime.metrics import SINK_LAG, SINK_UNOWNED
from runtime.process import FAILED, REFUSED
from runtime.watchdog import Stalled
from sinks.migrate import migrate
from sinks.tables import TABLE_OF
from sinks.watchdog import watch
from streams.message import MESSAGES, VERSION, encode_message, state_of
from tests.support.kafka import own_kafka
from tests.support.postbacks import sent
from tests.support.process import ROOT
from tests.support.sinks import (
    EXACT,
    GROUP,
    PARTITIONS,
    all_stored,
    execute,
    make_topics,
    open_sink,
    rows,
    send,
    until,
    worker_of,
)


async def test_a_state_of_a_newer_format_ends_the_sink_before_a_field_is_lost(
    fresh_kafka: str, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await make_topics(fresh_kafka)
    await send(fresh_kafka, MESSAGES, encode_message(replace(state_of(sent()), version=VERSION + 1)))
    with open_sink(fresh_kafka, database) as sink:
        assert await asyncio.to_thread(sink.process.popen.wait, 60) == REFUSED
    assert "newer than this code: upgrade it" in capfd.readouterr().err


async def test_a_schema_of_a_newer_version_is_refused(
    fresh_kafka: str, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await make_topics(fresh_kafka)
    migrate(SecretStr(database))
    execute(database, "INSERT INTO schema_versions (version, name) VALUES (9999, '9999_later')")
    with open_sink(fresh_kafka, database) as sink:
        assert await asyncio.to_thread(sink.process.popen.wait, 60) == REFUSED
    assert "has version 9999, this code knows up to" in capfd.readouterr().err


async def test_a_broker_that_comes_back_as_another_cluster_ends_the_sink(
    database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with own_kafka(tmp_path / "first") as first:
        await make_topics(first.address)
        sinks = ExitStack()
        sink = sinks.enter_context(open_sink(first.address, database))
        await send(first.address, SENT, encode(sent("of the first")))
        await all_stored(first.address)
    with sinks:
        async with own_kafka(tmp_path / "another", first.nodes[0].port) as another:
            await make_topics(another.address)
            await send(another.address, SENT, encode(sent("x")), encode(sent("of the second")))
            assert await asyncio.to_thread(sink.process.popen.wait, 120) == REFUSED
            assert f"and is {another.cluster} now" in capfd.readouterr().err
            with open_sink(another.address, database):
                await all_stored(another.address)
    stored = rows(database, "SELECT event_id, cluster FROM postbacks FINAL")
    assert {row["event_id"]: row["cluster"] for row in stored} == {
        "of the first": first.cluster,
        "x": another.cluster,
        "of the second": another.cluster,
    }


async def test_a_worker_that_does_nothing_though_there_is_work_is_ended(
    fresh_kafka: str, database: str
) -> None:
    await make_topics(fresh_kafka)
    async with worker_of(fresh_kafka, database) as (worker, running):
        await until(lambda: bool(worker.consumer.assignment()), "it has partitions")
        worker.consumer.pause(*worker.consumer.assignment())
        topics = dict.fromkeys(TABLE_OF, PARTITIONS)
        async with GroupReader({"bootstrap_servers": [fresh_kafka]}, GROUP, topics, topics) as reader:
            monitor = GroupMonitor(reader, lambda: worker.membership, Health(), SINK_LAG, SINK_UNOWNED)
            polling = asyncio.create_task(monitor.run())
            watching = asyncio.create_task(watch(worker, monitor, stall_after=1))
            await send(fresh_kafka, SENT, encode(sent()), encode(sent()))
            with pytest.raises(Stalled, match=r"\d records wait in postbacks\.sent-0; no insert tried for"):
                await asyncio.wait_for(watching, 60)
            polling.cancel()
        assert not running.done()


def test_stalled_process_exits_with_failure() -> None:
    program = """
from runtime.process import run_process
from runtime.watchdog import Stalled

async def stall(*_):
    raise Stalled("2 records wait in postbacks.sent-0; no insert tried for 60 s")

run_process(stall)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == FAILED
    assert "no insert tried for 60 s" in done.stdout + done.stderr


async def test_an_insert_that_a_library_gave_up_ends_the_worker_instead_of_blocking_its_partitions(
    fresh_kafka: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_topics(fresh_kafka)

    async def given_up(*_: object) -> None:
        raise asyncio.CancelledError  # as clients do to who waits for the same as one that is cancelled

    async with worker_of(fresh_kafka, database) as (worker, running):
        monkeypatch.setattr(worker._store, "store", given_up)
        await send(fresh_kafka, SENT, encode(sent()))
        with pytest.raises(RuntimeError, match="cancelled by nobody"):
            await asyncio.wait_for(asyncio.shield(running), 60)


async def test_a_table_that_is_gone_ends_the_sink_and_its_next_start_makes_it_anew(
    fresh_kafka: str, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await make_topics(fresh_kafka)
    with open_sink(fresh_kafka, database) as sink:
        await until(lambda: sink.ready() == "ready\n", "it works")
        execute(database, "DROP DATABASE " + database.rpartition("/")[2])
        await send(fresh_kafka, SENT, encode(sent()))
        assert await asyncio.to_thread(sink.process.popen.wait, 60) == REFUSED
    assert "tables are not those of this code" in capfd.readouterr().err
    with open_sink(fresh_kafka, database):
        await all_stored(fresh_kafka)
    assert rows(database, EXACT) == [{"events": 1, "records": 1, "rows": 1}]
