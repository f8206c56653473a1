"""The queries of docs/contacts.md in SQL: each one finds what it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from gateway.postback import format_time
from sinks.migrate import migrate
from streams.contact import CONTACTS, encode_contact, merge_contact
from streams.merge import state_of
from streams.message import MESSAGES, encode_message
from tests.support.contact_events import contact_event
from tests.support.postbacks import sent
from tests.support.process import ROOT
from tests.support.sinks import insert_values

PAGE = (ROOT / "docs" / "contacts.md").read_text()
SECTION = PAGE.partition("\n## In SQL\n")[2].partition("\n## ")[0]
QUERIES = re.findall(r"### (.*?)\n.*?```sql\n(.*?)```", SECTION, re.DOTALL)
#: In the night of all area codes of the page.
YESTERDAY = datetime.now(UTC).replace(hour=8, minute=0, second=0) - timedelta(days=1)


@pytest.fixture(scope="module")
def schema(clickhouse: str) -> Iterator[Client]:
    """A database in which a number was texted at night, a month after it had opted out."""
    events = [
        contact_event("e1", occurred_at=format_time(YESTERDAY - timedelta(days=30))),
        contact_event("e2", signal="suspected", number="6055550101", words="stpo"),
    ]
    text = state_of(
        sent(
            to_number="17575550100",
            occurred_at=format_time(YESTERDAY),
            received_at=format_time(YESTERDAY),
        )
    )
    with closing(get_client(dsn=clickhouse)) as client:
        migrate(SecretStr(f"{clickhouse}/contacts_page"))
        with closing(get_client(dsn=f"{clickhouse}/contacts_page")) as database:
            insert_values(database, MESSAGES, [encode_message(text)])
            insert_values(
                database, CONTACTS, [encode_contact(merge_contact(None, event)) for event in events]
            )
            yield database
        client.command("DROP DATABASE contacts_page SYNC")


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[title for title, _ in QUERIES])
def test_query_of_the_page_finds_rows(query: str, schema: Client) -> None:
    assert schema.query(query).result_rows


def test_page_names_every_table_and_view(schema: Client) -> None:
    names = schema.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND match(name, "
        "'^(contacts|contact_verdicts|texted_.*|holidays|area_codes)$')"
    )
    assert [name for (name,) in names.result_rows if not re.search(rf"`{name}\b", SECTION)] == []
