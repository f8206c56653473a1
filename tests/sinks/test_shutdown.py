"""Errors that end a sink, and their texts."""

from __future__ import annotations

import asyncio
import re
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
from runtime.kafka.stall_watch import describe_lag, watch
from runtime.metrics import SINK_LAG, SINK_UNOWNED
from runtime.process import FAILED, REFUSED
from runtime.watchdog import Stalled
from sinks.migrate import migrate
from sinks.tables import TABLE_OF
from streams.contact import CONTACT_VERSION, CONTACTS, encode_contact, merge_contact
from streams.merge import state_of
from streams.message import MESSAGES, VERSION, encode_message
from tests.support.contact_events import contact_event
from tests.support.kafka import PARTITIONS, create_topics, own_kafka
from tests.support.postbacks import sent
from tests.support.process import ROOT
from tests.support.sinks import (
    COUNTS,
    GROUP,
    execute,
    open_sink,
    produce_values,
    rows,
    run_worker,
    wait_committed,
)
from tests.support.wait import eventually

CONTACT = merge_contact(None, contact_event())


@pytest.mark.parametrize(
    ("topic", "value"),
    [
        (MESSAGES, encode_message(replace(state_of(sent()), version=VERSION + 1))),
        (
            CONTACTS,
            encode_contact(replace(CONTACT, version=CONTACT_VERSION + 1)),
        ),
    ],
    ids=[MESSAGES, CONTACTS],
)
async def test_state_of_a_newer_version_ends_the_sink(
    prepared_kafka: str, prepared_database: str, capfd: pytest.CaptureFixture[str], topic: str, value: bytes
) -> None:
    await produce_values(prepared_kafka, topic, value)
    with open_sink(prepared_kafka, prepared_database) as sink:
        assert await sink.process.wait(60) == REFUSED
    assert "newer than this code: upgrade it" in capfd.readouterr().err


async def test_newer_schema_ends_the_sink(
    prepared_kafka: str, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    migrate(SecretStr(database))
    execute(database, "INSERT INTO schema_versions (version, name) VALUES (9999, '9999_later')")
    with open_sink(prepared_kafka, database) as sink:
        assert await sink.process.wait(60) == REFUSED
    assert "has version 9999, this code knows up to" in capfd.readouterr().err


async def test_replaced_cluster_ends_the_sink(
    prepared_database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with own_kafka(tmp_path / "first") as first:
        await create_topics(first.address)
        sinks = ExitStack()
        sink = sinks.enter_context(open_sink(first.address, prepared_database))
        await produce_values(first.address, SENT, encode(sent("of the first")))
        await wait_committed(first.address)
    with sinks:
        async with own_kafka(tmp_path / "another", first.nodes[0].port) as another:
            await create_topics(another.address)
            await produce_values(another.address, SENT, encode(sent("x")), encode(sent("of the second")))
            assert await sink.process.wait(120) == REFUSED
            assert f"and is now {another.cluster}" in capfd.readouterr().err
            with open_sink(another.address, prepared_database):
                await wait_committed(another.address)
    stored = rows(prepared_database, "SELECT event_id, cluster FROM postbacks FINAL")
    assert {row["event_id"]: row["cluster"] for row in stored} == {
        "of the first": first.cluster,
        "x": another.cluster,
        "of the second": another.cluster,
    }


async def test_worker_without_attempts_despite_lag_is_stalled(
    prepared_kafka: str, prepared_database: str
) -> None:
    async with run_worker(prepared_kafka, prepared_database) as (worker, running):
        await eventually(lambda: bool(worker.consumer.assignment()), "partitions assigned")
        worker.consumer.pause(*worker.consumer.assignment())
        topics = dict.fromkeys(TABLE_OF, PARTITIONS)
        async with GroupReader({"bootstrap_servers": [prepared_kafka]}, GROUP, topics, topics) as reader:
            health = Health()
            monitor = GroupMonitor(reader, lambda: worker.membership, health, SINK_LAG, SINK_UNOWNED)
            polling = asyncio.create_task(monitor.run())
            watching = asyncio.create_task(
                watch(lambda: describe_lag(monitor, worker.assigned), lambda: worker.attempts, health, 1)
            )
            await produce_values(prepared_kafka, SENT, encode(sent()), encode(sent()))
            stalled = r"\d records left in postbacks\.sent-0; nothing attempted for"
            with pytest.raises(Stalled, match=stalled):
                await asyncio.wait_for(watching, 60)
            assert re.match(stalled, health.missing["progress"])
            polling.cancel()
        assert not running.done()


def test_stalled_process_exits_with_failure() -> None:
    program = """
from runtime.process import run_process
from runtime.watchdog import Stalled

async def stall(*_):
    raise Stalled("2 records left in postbacks.sent-0; nothing attempted for 60 s")

run_process(stall)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == FAILED
    assert "nothing attempted for 60 s" in done.stdout + done.stderr


async def test_insert_cancelled_by_a_library_ends_the_worker(
    prepared_kafka: str, prepared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError  # as clients do if another task that shares the request is cancelled

    async with run_worker(prepared_kafka, prepared_database) as (worker, running):
        monkeypatch.setattr(worker._writer, "write", cancelled)
        await produce_values(prepared_kafka, SENT, encode(sent()))
        with pytest.raises(RuntimeError, match="cancelled, not by this worker"):
            await asyncio.wait_for(asyncio.shield(running), 60)


async def test_dropped_table_ends_the_sink_and_is_recreated(
    prepared_kafka: str, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_sink(prepared_kafka, database) as sink:
        await sink.wait_ready()
        execute(database, "DROP DATABASE " + database.rpartition("/")[2])
        await produce_values(prepared_kafka, SENT, encode(sent()))
        assert await sink.process.wait(60) == REFUSED
    assert "tables are not those of this code" in capfd.readouterr().err
    with open_sink(prepared_kafka, database):
        await wait_committed(prepared_kafka)
    assert rows(database, COUNTS) == [{"events": 1, "records": 1, "rows": 1}]
