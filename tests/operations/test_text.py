"""Texts that are not UTF-8, which ClickHouse stores as they are, end no command."""

from __future__ import annotations

import pytest
from msgspec import Struct
from pydantic import SecretStr

from cli.message import CONTRACT_JSON
from operations.rows import SETTINGS, Query, read_rows
from runtime.clickhouse.client import Reader


class Row(Struct):
    text: str


@pytest.mark.parametrize("settings", [SETTINGS, CONTRACT_JSON])
def test_invalid_text_has_replacement_characters(clickhouse: str, settings: dict[str, str]) -> None:
    query: Query = Reader(SecretStr(clickhouse.rstrip("/") + "/default"), settings).query
    assert read_rows(query, Row, "SELECT concat('a', unhex('FF'), 'b') AS text") == [Row("a\ufffdb")]
