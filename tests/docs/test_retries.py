"""The queries and columns of docs/retries.md."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from operations.message_chain import MessageChain
from runtime.clickhouse.client import open_client
from streams.message import MESSAGES, encode_message
from tests.support.message_chains import retried
from tests.support.process import ROOT
from tests.support.sinks import insert_values

PAGE = (ROOT / "docs" / "retries.md").read_text()
QUERIES = dict(re.findall(r"### (.*?)\n.*?```sql\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def client(prepared_database: str) -> Iterator[Client]:
    """A delivered retry, one that failed, and a message that was delivered at once."""
    messages = [
        retried(1, 2),
        retried(2, code="000", second=9),
        retried(3, 4),
        retried(4, code="005", second=9),
        retried(5, code="000"),
    ]
    with open_client(SecretStr(prepared_database)) as client:
        insert_values(client, MESSAGES, map(encode_message, messages))
        yield client


def test_queries_of_the_page_count_each_text_once(client: Client) -> None:
    helped, counted, failed = (client.query(query).result_rows for query in QUERIES.values())
    assert set(helped) == {("failed", "delivered", 1), ("failed", "failed", 1)}
    assert counted == [("delivered", 2), ("failed", 1)]
    assert [row[2] for row in failed] == ["3"]


def test_page_names_every_column_of_a_chain() -> None:
    section = PAGE.partition("\n## ")[0]
    assert set(MessageChain.__struct_fields__) <= set(re.findall(r"`(\w+)`", section))
