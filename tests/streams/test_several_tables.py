"""A worker with several tables keeps what belongs to each of them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from faust.events import Event
from faust.types import TP, ConsumerMessage

from runtime.kafka.consumer_group import TopicPartition
from streams.state.spec import Change, TableSpec
from streams.state.store import MemoryStore
from streams.state.table import StateTable
from streams.state.writer import Retry
from streams.tables import MESSAGES_TABLE
from streams.transport.app import faust_app, group_topics
from streams.transport.consumer import Batch
from streams.watchdog import Pending, WorkerStatus, servable

FIRST, SECOND = UUID(int=1), UUID(int=2)
OTHER = TableSpec(
    "others", ("other_events",), "others", 0.5, lambda _, value: value, lambda value: Change(value, [])
)


@pytest.fixture
def app(tmp_path: Path) -> Any:
    return faust_app(
        {"bootstrap_servers": ["127.0.0.1:1"]},
        tmp_path,
        {MESSAGES_TABLE: FIRST, OTHER: SECOND},
        partitions=4,
        session_timeout=6,
        fetch_wait=0.05,
        compression="none",
    )


@pytest.fixture
def table(app: Any) -> StateTable:
    return StateTable(app, OTHER, lambda _: MemoryStore())


def test_commits_carry_the_id_of_their_changelog(app: Any) -> None:
    metadata = app.transport.commit_metadata
    assert {metadata[topic] for topic in MESSAGES_TABLE.inputs} == {f"topic={FIRST}"}
    assert metadata["other_events"] == f"topic={SECOND}"


def test_group_owns_inputs_and_changelogs(app: Any) -> None:
    topics = {*MESSAGES_TABLE.inputs, "messages", "other_events", "others"}
    assert group_topics([MESSAGES_TABLE, OTHER], 4) == app.transport.partitions == dict.fromkeys(topics, 4)


async def test_only_own_changelog_is_restored(table: StateTable) -> None:
    batch: Any = Batch([], 0, 7)
    tp: Any = TP("messages", 0)
    message: Any = ConsumerMessage("messages", 0, 6, 0, 0, None, None, batch, None, tp=tp)
    table.states.apply_changelog_batch([Event(table.app, None, batch, None, message)], None, None)
    assert table.states.by_partition == {}


async def test_table_is_ready_with_its_own_partitions(table: StateTable) -> None:
    await table.on_recovery_completed({TP("messages", 0), TP("others", 1)}, set())
    assert table.ready == {1}


async def test_only_ends_of_own_changelog_are_compared(table: StateTable) -> None:
    table.states.of(0).store.write({}, 9)
    await table.on_log_ends({TP("messages", 0): 3, TP("others", 0): 10})
    assert table.states.of(0).store.offset == 9


def test_restore_reports_each_table() -> None:
    status = WorkerStatus(
        processed={},
        assignments=1,
        is_rebalancing=True,
        to_restore={"messages": 12, "others": 3},
        retrying={TopicPartition("others", 0): Retry("others", 0, "no answer")},
        changelog_position=0,
        states={},
    )
    assert status.unready_reason == "restoring, 12 records of messages and 3 records of others left"


def test_work_that_kafka_cannot_store_is_no_stall() -> None:
    first, second, other = (TopicPartition(*tp) for tp in (("messages", 0), ("messages", 1), ("others", 0)))
    pending: Pending = {first: "1 record", second: "2 records", other: "3 records"}
    writable = {"messages": {0, 1}, "others": {1}}
    assert servable(pending, {}, writable, set()).keys() == {first, second}
    retrying = {second: Retry("postbacks.rejected", 0, "no answer")}
    assert servable(pending, retrying, writable, set()).keys() == {first, second}
    assert servable(pending, retrying, writable, {"postbacks.rejected"}).keys() == {first}
