"""`postbacks reconcile --repair` with running engines: everything whole again, nothing counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert, to_builtins

from cli.publisher import open_publisher
from cli.repair import insert_nothing
from gateway.parsing.postback import parse
from gateway.postback import SENT, key_of
from gateway.submission import SUBMISSIONS, Submission, decode_submission
from operations.repair.report import RepairReport
from operations.repair.spans import spans
from operations.repair.stored_events import ParsedDifferently, StoredPostback, StoredSubmission
from runtime.settings import load_settings
from sinks.batch import Record
from sinks.tables import Table
from streams.merge import Event
from streams.message import MESSAGES
from tests.support.losses import (
    delete,
    delete_records,
    fill,
    in_process,
    load,
    lose_messages,
    reconcile,
    record_count,
    repair,
    running,
    stored_records,
    whole,
)
from tests.support.pipeline import Pipeline, create_pipeline
from tests.support.process import run_module
from tests.support.samples import raw_request
from tests.support.sinks import execute, open_writer, rows, wait_committed
from tests.support.submissions import submissions
from tests.support.workload import read_all, topic_of


@pytest_asyncio.fixture
async def pipeline(fresh_kafka: str, prepared_database: str, tmp_path: Path) -> Pipeline:
    return await create_pipeline(fresh_kafka, prepared_database, tmp_path)


async def test_rows_deleted_from_each_table_are_inserted(pipeline: Pipeline) -> None:
    before, stored = await fill(pipeline), stored_records(pipeline)
    assert {row["stage"] for row in before["rejected"]} == {"gateway", "streams", "sinks"}
    delete(pipeline, "postbacks", "offset % 2 = 1")
    delete(pipeline, "submissions", "offset % 2 = 1 OR message_id IS NULL")
    delete(pipeline, "message_states", f"message_id <= '{UUID(int=5)}'")
    delete(pipeline, "rejected", "1")
    left = len(stored_records(pipeline))

    planned = RepairReport(dry_run=True)
    assert not (await in_process(pipeline, insert_nothing, planned).run()).complete

    status, report = await repair(pipeline)
    assert (status, report["missing"], report["duplicates"]) == (0, 0, 0)
    assert whole(pipeline) == before
    assert stored_records(pipeline) == stored
    assert (report["repair"]["unrepairable"], report["repair"]["published"]) == (0, {})
    inserted = report["repair"]["inserted"]
    assert inserted == planned.inserted
    assert inserted["submissions"] > 2
    assert inserted["postbacks"] + inserted["submissions"] == len(stored) - left + 1, (
        "and the one that ClickHouse refuses"
    )
    assert inserted["message_states"] >= 5
    assert inserted["rejected"] == 4


async def check_published_again(
    pipeline: Pipeline,
    before: dict[str, list[dict[str, Any]]],
    stored: list[dict[str, Any]],
    lost: list[Event],
) -> None:
    """Repair, and check that only the lost events are published, and that their messages are back."""
    status, report = await repair(pipeline)
    assert (status, report["missing"], report["duplicates"]) == (0, 0, 0)
    assert report["repair"]["pending"] == ""
    assert report["repair"]["published"] == Counter(map(topic_of, lost))
    assert report["repair"]["published"][SUBMISSIONS] == 4
    assert whole(pipeline) == before
    assert len(stored_records(pipeline)) == len(stored) + len(lost), "a row per record, old and new"
    keys = {record.key for record in await read_all(pipeline.kafka, MESSAGES) if record.value}
    assert keys == {key_of(event.account, event.message_id or "") for event in lost}


async def test_messages_lost_everywhere_are_published_again(pipeline: Pipeline) -> None:
    before, stored = await fill(pipeline), stored_records(pipeline)
    lost = await lose_messages(pipeline)
    keys = {key_of(event.account, event.message_id or "") for event in lost}
    await pipeline.streams.produce_raw(MESSAGES, [(key, None) for key in keys])
    async with running(pipeline):
        await check_published_again(pipeline, before, stored, lost)


async def test_messages_that_only_streams_has_are_written_again(pipeline: Pipeline) -> None:
    async with running(pipeline):
        await load(pipeline)
        await pipeline.streams.wait_committed()
        await wait_committed(pipeline.kafka)
        before, stored = whole(pipeline), stored_records(pipeline)
        lost = await lose_messages(pipeline)
        await check_published_again(pipeline, before, stored, lost)


async def test_dry_run_says_what_it_would_do(pipeline: Pipeline) -> None:
    await fill(pipeline)
    lost = await lose_messages(pipeline)
    delete(pipeline, "rejected", "stage = 'gateway'")
    delete(pipeline, "submissions", "message_id IS NULL")
    left, stored, produced = whole(pipeline), stored_records(pipeline), await record_count(pipeline)
    status, report = await repair(pipeline, "--dry-run")
    assert status == 1
    assert report["repair"]["dry_run"]
    assert report["repair"]["inserted"] == {"rejected": 3, "submissions": 2}
    assert report["repair"]["published"] == Counter(map(topic_of, lost))
    assert (whole(pipeline), stored_records(pipeline)) == (left, stored)
    assert await record_count(pipeline) == produced


async def test_rows_and_messages_lost_together_are_whole_again(pipeline: Pipeline) -> None:
    before = await fill(pipeline)
    delete(pipeline, "postbacks", "1")
    delete(pipeline, "submissions", "1")
    delete(pipeline, "message_states", "1")
    await delete_records(pipeline, MESSAGES)
    async with running(pipeline):
        status, report = await repair(pipeline)
    assert (status, report["missing"], report["duplicates"]) == (0, 0, 0)
    assert whole(pipeline) == before


async def test_insert_racing_with_a_sink_counts_once(pipeline: Pipeline) -> None:
    before, stored = await fill(pipeline), stored_records(pipeline)
    for table in ("postbacks", "submissions", "message_states", "rejected"):
        execute(pipeline.clickhouse, f"SYSTEM STOP MERGES {table}")
        execute(pipeline.clickhouse, f"TRUNCATE TABLE {table}")
    held: list[tuple[Table, Sequence[Record]]] = []

    async def hold(table: Table, records: Sequence[Record]) -> None:
        held.append((table, records))

    await in_process(pipeline, hold, RepairReport(dry_run=True)).run()
    await pipeline.store("rewound")
    assert whole(pipeline) == before, "the sink was faster"
    async with open_writer(pipeline.kafka, pipeline.clickhouse) as (writer, _):
        for found, records in held:
            await writer.write(found, records)
    assert {found.name for found, _ in held} == {"postbacks", "submissions", "message_states", "rejected"}
    physical = [
        row
        for table in ("postbacks", "submissions")
        for row in rows(pipeline.clickhouse, f"SELECT count()::UInt32 AS n FROM {table}")
    ]
    assert sum(row["n"] for row in physical) == 2 * len(stored), (
        "both inserted each row, and nothing is merged"
    )
    assert whole(pipeline) == before
    assert stored_records(pipeline) == stored
    status, report = await reconcile(pipeline)
    assert (status, report["missing"], report["duplicates"]) == (0, 0, 0)


async def test_healthy_pipeline_is_not_changed(pipeline: Pipeline) -> None:
    before, stored, produced = await fill(pipeline), stored_records(pipeline), await record_count(pipeline)
    status, report = await repair(pipeline)
    assert (status, report["repair"]["inserted"], report["repair"]["published"]) == (0, {}, {})
    assert (whole(pipeline), stored_records(pipeline)) == (before, stored)
    assert await record_count(pipeline) == produced
    done = await pipeline.command("reconcile", "--repair")
    assert done.stdout.splitlines()[:2] == ["Repaired", "  nothing"]


async def test_what_kafka_has_deleted_is_listed(pipeline: Pipeline) -> None:
    await fill(pipeline)
    await delete_records(pipeline, SENT)
    delete(pipeline, "postbacks", f"topic = '{SENT}' AND partition = 0 AND offset IN (1, 2)")
    done = await pipeline.command("reconcile", "--repair")
    assert done.returncode == 1
    repaired = done.stdout.partition("\nCluster ")[0]
    assert "Cannot be repaired: 2" in repaired
    assert "  postbacks.sent/0 offsets 1 to 2\n    Kafka has deleted it" in repaired
    assert all(len(line) <= 80 for line in repaired.splitlines())
    assert "Not complete" in done.stdout


async def test_stopped_streams_are_named(pipeline: Pipeline) -> None:
    await fill(pipeline, messages=2)
    delete(pipeline, "message_states", "1")
    await delete_records(pipeline, MESSAGES)
    report = RepairReport(dry_run=False)
    settings = load_settings({f"POSTBACKS_{name.upper()}": str(v) for name, v in pipeline.settings.items()})
    repairing = in_process(pipeline, insert_nothing, report)
    repairing.open_publisher, repairing.stall_timeout = partial(open_publisher, settings), 1.0
    assert not (await repairing.run()).complete
    assert report.pending == "streams: 9 records left, and no progress"


def test_dry_run_alone_is_refused() -> None:
    done = run_module("cli", "reconcile", "--dry-run")
    assert done.returncode == 2
    assert "--dry-run is only for --repair" in done.stderr


# -- without engines


def stored_postback(body: bytes, **others: str) -> StoredPostback:
    return convert(
        {"headers": {}, "body_base64": ""} | to_builtins(parse(raw_request(body))) | others, StoredPostback
    )


def test_request_that_parses_to_another_event_is_refused() -> None:
    body = f"SMSSent=1&MessageID={UUID(int=1)}".encode()
    assert stored_postback(body).record_again().topic == SENT
    for other in ({"event_id": "another"}, {"message_id": str(UUID(int=2))}, {"type": "receipt"}):
        with pytest.raises(ParsedDifferently):
            stored_postback(body, **other).record_again()


@given(submissions)
def test_stored_submission_is_republished_as_it_was(given: Submission) -> None:
    record = convert(to_builtins(given), StoredSubmission).record_again()
    assert record.topic == SUBMISSIONS
    assert record.key == key_of(given.account, given.message_id or given.event_id)
    assert decode_submission(record.value) == given


@given(st.sets(st.integers(0, 60)), st.integers(0, 10))
def test_spans_cover_exactly_the_wanted_offsets(offsets: set[int], max_gap: int) -> None:
    wanted = [range(offset, offset + 1) for offset in sorted(offsets)]
    found = list(spans(wanted, max_gap))
    assert {offset for span in found for offset in span.offsets if offset in span} == offsets
    for before, after in pairwise(found):
        assert after.offsets.start - before.offsets.stop > max_gap
