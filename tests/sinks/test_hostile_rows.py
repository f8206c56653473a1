"""Whatever a record contains, ClickHouse stores it or refuses it alone; it stalls no insert."""

from __future__ import annotations

import asyncio
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.postback import SENT, encode
from runtime.clickhouse.client import Inserter
from runtime.health import Health
from runtime.retry import Retrier
from sinks.cluster import ClusterGuard
from sinks.tables import POSTBACKS
from sinks.writer import ClickHouseWriter
from tests.support.hostile_records import keys, timestamps, values
from tests.support.postbacks import sent
from tests.support.records import FakeRecord
from tests.support.sinks import rows

GOOD = encode(sent())
FOUND = """
SELECT 'postbacks' AS table, offset::Int64 AS offset FROM postbacks WHERE postbacks.offset >= {since}
UNION ALL SELECT 'rejected', rejected.offset FROM rejected WHERE rejected.offset >= {since}
"""
BAD = st.lists(st.tuples(st.none() | values(GOOD), keys, timestamps), min_size=1, max_size=8)


def test_each_record_is_stored_or_rejected(kafka: str, prepared_database: str) -> None:
    offsets = count()

    @settings(max_examples=8)
    @given(BAD)
    def write(bad: list[tuple[bytes | None, bytes | None, int]]) -> None:
        records, good = [], []
        for value, key, timestamp in bad:
            records.append(FakeRecord(SENT, offset=next(offsets), value=GOOD))
            good.append(records[-1].offset)
            records.append(FakeRecord(SENT, offset=next(offsets), key=key, value=value, timestamp=timestamp))
        asyncio.run(_write(kafka, prepared_database, records))
        found = rows(prepared_database, FOUND.format(since=records[0].offset))
        stored = {row["offset"] for row in found if row["table"] == "postbacks"}
        rejected = {row["offset"] for row in found if row["table"] == "rejected"}
        assert stored >= set(good)
        assert rejected.isdisjoint(good)
        assert stored | rejected == {record.offset for record in records}

    write()


async def _write(kafka: str, clickhouse: str, records: list[FakeRecord]) -> None:
    inserter, cluster = (
        Inserter(SecretStr(clickhouse), timeout=30),
        ClusterGuard({"bootstrap_servers": [kafka]}),
    )
    try:
        await cluster.open([])
        await ClickHouseWriter(inserter, cluster, Retrier(Health(), (), max_backoff=1)).write(
            POSTBACKS, records
        )
    finally:
        await inserter.close()
        await cluster.close()
