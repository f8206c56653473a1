"""Inserts into ClickHouse: a retry is stored, although a deduplication window has seen the rows."""

from __future__ import annotations

from pydantic import SecretStr

from runtime.clickhouse.client import INSERT_SETTINGS, Inserter, insert_settings
from tests.support.sinks import execute, rows

WINDOW = """
CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100
"""


def stored(database: str) -> list[int]:
    return [row["n"] for row in rows(database, "SELECT n FROM t ORDER BY n")]


def test_window_drops_a_repeated_insert_by_default(database: str) -> None:
    execute(database, WINDOW)
    for _ in range(2):
        execute(database, "INSERT INTO t SETTINGS async_insert = 0 VALUES (1)")
    assert stored(database) == [1]


async def test_repeated_insert_is_stored_despite_a_window(database: str) -> None:
    execute(database, WINDOW)
    inserter = Inserter(SecretStr(database), timeout=30)
    try:
        for _ in range(2):
            await inserter.insert("t", [], b'{"n":1}\n')
    finally:
        await inserter.close()
    assert stored(database) == [1, 1]


def test_older_servers_get_no_unknown_setting() -> None:
    assert insert_settings(known=INSERT_SETTINGS) == INSERT_SETTINGS
    assert insert_settings(known={"deduplicate_insert"})["deduplicate_insert"] == "disable"
