"""A database with the schema, which one test after another uses: emptying costs less than migrating."""

from __future__ import annotations

from contextlib import closing
from typing import Any, NamedTuple
from uuid import uuid4

from clickhouse_connect import get_client
from pydantic import SecretStr

from sinks.migrate import migrate

# Not the inner tables of views that refresh themselves, which come and go: such views may have older rows.
DEFINITIONS = """SELECT name, create_table_query, comment FROM system.tables
WHERE database = {name:String} AND name NOT LIKE '.%' ORDER BY name"""
TABLES = """SELECT name, total_rows FROM system.tables
WHERE database = {name:String} AND name NOT LIKE '.%' AND engine LIKE '%MergeTree' AND total_rows > 0"""


class State(NamedTuple):
    """The definitions of the tables, and the number of rows of those with rows."""

    definitions: list[Any]
    rows: dict[str, int]


class PreparedDatabase:
    def __init__(self, clickhouse: str) -> None:
        self._clickhouse = clickhouse
        self._parameters = {"name": f"prepared_{uuid4().hex[:12]}"}
        #: As after the last migration.
        self._prepared = State([], {})

    @property
    def url(self) -> str:
        return f"{self._clickhouse}/{self._parameters['name']}"

    def prepare(self) -> str:
        """Return its URL, as after a migration; migrate if a test has changed the schema."""
        with closing(get_client(dsn=self._clickhouse)) as client:
            name = self._parameters["name"]
            # An insert of a process that the last test killed would end in this one.
            client.command("KILL QUERY WHERE current_database = {name:String} SYNC", self._parameters)
            for table, _ in self._query(client, TABLES):
                if table not in self._prepared.rows:
                    client.command(f"TRUNCATE TABLE {name}.`{table}` SYNC")
                    client.command(f"SYSTEM START MERGES {name}.`{table}`")
            if not self._prepared.definitions or self._state(client) != self._prepared:
                client.command(f"DROP DATABASE IF EXISTS {name} SYNC")
                client.command(f"CREATE DATABASE {name}")
                migrate(SecretStr(self.url))
                self._prepared = self._state(client)
        return self.url

    def drop(self) -> None:
        with closing(get_client(dsn=self._clickhouse)) as client:
            client.command(f"DROP DATABASE IF EXISTS {self._parameters['name']} SYNC")

    def _state(self, client: Any) -> State:
        return State(self._query(client, DEFINITIONS), dict(self._query(client, TABLES)))

    def _query(self, client: Any, query: str) -> list[Any]:
        return list(client.query(query, parameters=self._parameters).result_rows)
