"""Migrates ClickHouse's schema to this code's version: numbered SQL files, applied once and in order.

Every statement is idempotent, so that several processes may migrate at a time, and a file that was applied in
part is applied again. A schema newer than the code is an error: this code would leave its new columns empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from pydantic import SecretStr

from runtime.clickhouse.client import connection, insert_settings, open_client
from runtime.clickhouse.errors import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    READONLY,
    ClickHouseUnavailable,
    SchemaMismatch,
)
from runtime.clickhouse.sql import quote
from runtime.errors import StartupError
from sinks.reference_data import fill_reference_data

SCHEMA = Path(__file__).parent / "schema"

log = structlog.get_logger(__name__)


class Migration(NamedTuple):
    """One file of `schema/`."""

    version: int
    name: str
    sql: str

    def statements(self, database: str) -> Iterator[str]:
        """Its statements, separated by semicolons at line ends; `$database` becomes the quoted name."""
        for statement in self.sql.replace("$database", quote(database, "`")).split(";\n"):
            if statement.strip():
                yield statement


def migrations() -> list[Migration]:
    """All migrations of this code, in order."""
    files = sorted(SCHEMA.glob("[0-9]*.sql"))
    return [Migration(int(file.stem[:4]), file.stem, file.read_text()) for file in files]


def migrate(setting: SecretStr) -> list[str]:
    """Create the database of POSTBACKS_CLICKHOUSE if missing, and apply the migrations that it lacks.

    Then the tables are filled whose rows come from libraries.

    Returns the names of the applied migrations.

    Raises:
        SchemaMismatch: the schema is newer than this code.
        StartupError: the user lacks the privileges.
        ClickHouseUnavailable: ClickHouse does not answer, or cannot execute it now.
    """
    database = connection(setting)["database"]
    try:
        with open_client(setting, database=None) as client:
            if not int(client.command(f"EXISTS DATABASE {quote(database, '`')}")):
                client.command(f"CREATE DATABASE IF NOT EXISTS {quote(database, '`')}")
        with open_client(setting) as client:
            applied = _apply(client, database)
            fill_reference_data(client)
            return applied
    except ClickHouseUnavailable as error:
        if error.code in (READONLY, ACCESS_DENIED, AUTHENTICATION_FAILED):
            raise StartupError(
                f"POSTBACKS_CLICKHOUSE: the user lacks the privileges for the schema: {error}"
            ) from error
        raise


def _schema_version(client: Any) -> int:
    """The last migration applied to the client's database; 0 for none."""
    if not int(client.command("EXISTS TABLE schema_versions")):
        return 0
    return int(client.command("SELECT max(version) FROM schema_versions"))


def _apply(client: Any, database: str) -> list[str]:
    known = migrations()
    version = _schema_version(client)
    if version > known[-1].version:
        raise SchemaMismatch(
            f"The schema of ClickHouse's database {database} has version {version}, this code knows up to "
            f"{known[-1].version}: upgrade it"
        )
    missing = [migration for migration in known if migration.version > version]
    for migration in missing:
        for statement in migration.statements(database):
            client.command(statement)
        client.insert(
            "schema_versions",
            [[migration.version, migration.name]],
            column_names=["version", "name"],
            settings=insert_settings(client.server_settings),
        )
        log.info("Migration applied", migration=migration.name, database=database)
    return [migration.name for migration in missing]
