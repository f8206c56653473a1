"""The README: its questions run, and its links lead to files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from pydantic import SecretStr

from sinks.migrate import migrate
from tests.support.process import ROOT

README = (ROOT / "README.md").read_text()
QUESTIONS = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def schema(clickhouse: str) -> Iterator[Client]:
    """A database with the schema and without rows."""
    with closing(get_client(dsn=clickhouse)) as client:
        migrate(SecretStr(f"{clickhouse}/readme"))
        with closing(get_client(dsn=f"{clickhouse}/readme")) as readme:
            yield readme
        client.command("DROP DATABASE readme SYNC")


def test_readme_has_five_questions() -> None:
    assert len(QUESTIONS) == 5


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_of_the_readme_run(question: str, schema: Client) -> None:
    assert schema.query(question).column_names


def test_files_linked_by_the_readme_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
