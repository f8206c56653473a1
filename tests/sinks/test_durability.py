"""ClickHouse syncs a row to its disk before it acknowledges the insert, in every table that sinks write."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from gateway.postback import SENT, encode
from gateway.rejected import REJECTED, Rejected
from gateway.submission import SUBMISSIONS
from runtime.clickhouse.client import Inserter
from sinks.migrate import migrate
from sinks.rows import splice
from sinks.tables import TABLE_OF, TABLES
from streams.auto_response import AUTO_RESPONSES, encode_auto_response
from streams.contact import CONTACTS, encode_contact, merge_contact
from streams.merge import state_of
from streams.message import MESSAGES, encode_message
from tests.support.auto_responses import auto_response
from tests.support.contact_events import contact_event
from tests.support.fsyncs import fsyncs, needs_strace, traced_fsyncs
from tests.support.postbacks import at, sent
from tests.support.records import FakeRecord
from tests.support.sinks import execute, open_clickhouse, rows
from tests.support.submissions import submission

#: A value for each table.
VALUES = {
    SENT: encode(sent()),
    MESSAGES: encode_message(state_of(sent())),
    CONTACTS: encode_contact(merge_contact(None, contact_event())),
    AUTO_RESPONSES: encode_auto_response(auto_response()),
    SUBMISSIONS: encode(submission()),
    REJECTED: encode(Rejected(rejection_id="1", reason="no_type", received_at=at(0))),
}


class Span(NamedTuple):
    """When a part of a table was written, and the prefix of its folder until it was complete."""

    table: str
    prefix: str
    began: float
    ended: float


def folder_of(database: str, table: str) -> Path:
    """The folder of a table's parts."""
    (row,) = rows(database, f"SELECT data_paths FROM system.tables WHERE name = '{table}'")
    return Path(row["data_paths"][0])


def test_every_table_is_tested() -> None:
    assert {TABLE_OF[topic] for topic in VALUES} == set(TABLES)


@pytest.mark.engine
@needs_strace
async def test_inserts_and_merges_sync_before_they_end(tmp_path: Path) -> None:
    with open_clickhouse(tmp_path) as process:
        database = f"{process.read_line()}/postbacks"
        migrate(SecretStr(database))
        inserter = Inserter(SecretStr(database), timeout=30)
        spans: list[Span] = []
        with traced_fsyncs(process.pid, tmp_path / "trace"):
            for topic, value in VALUES.items():
                table = TABLE_OF[topic]
                for offset in range(2):
                    row = splice(table.suffix, "a cluster", [FakeRecord(topic, offset=offset, value=value)])
                    began = time.time()
                    await inserter.insert(table.name, table.fields, row)
                    spans.append(Span(table.name, "tmp_insert_", began, time.time()))
                began = time.time()
                execute(database, f"OPTIMIZE TABLE {table.name} FINAL")
                spans.append(Span(table.name, "tmp_merge_", began, time.time()))
        await inserter.close()
        folders = {table.name: folder_of(database, table.name) for table in TABLES}
    calls = fsyncs(tmp_path / "trace")
    for span in spans:
        synced = [call.path for call in calls if span.began < call.began and call.ended < span.ended]
        folder = folders[span.table]
        (part,) = {path.parent for path in synced if path.parent.name.startswith(span.prefix)}
        assert part.parent == folder, span
        assert {"data.bin", "primary.cidx", "checksums.txt", "columns.txt"} <= {
            path.name for path in synced if path.parent == part
        }
        assert {folder, folder / part.name.removeprefix(span.prefix)} <= {*synced}, "the part is renamed last"
