"""Brings ClickHouse's schema to the version of this code: numbered SQL files, applied in order, each once.

Every statement is idempotent, so that two processes may migrate at once and a half-applied file is applied
again. A schema that is newer than the code is refused: it may have columns that this code would leave empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from pydantic import SecretStr

from runtime.clickhouse.client import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    READONLY,
    SchemaMismatch,
    Unavailable,
    connection,
    query_client,
)
from runtime.errors import StartupError

SCHEMA = Path(__file__).parent / "schema"

log = structlog.get_logger(__name__)


class Migration(NamedTuple):
    version: int
    name: str
    sql: str

    def statements(self, database: str) -> Iterator[str]:
        """What ends with a semicolon at a line's end, or the file's; `$database` is the quoted name."""
        for statement in self.sql.replace("$database", quoted(database)).split(";\n"):
            if statement.strip():
                yield statement


def migrations() -> list[Migration]:
    """All of this code, in order."""
    files = sorted(SCHEMA.glob("[0-9]*.sql"))
    return [Migration(int(file.stem[:4]), file.stem, file.read_text()) for file in files]


def migrate(setting: SecretStr) -> list[str]:
    """Create the database of `POSTBACKS_CLICKHOUSE` if it is missing, and apply what is not applied yet.

    Returns the names of the files that were applied.

    Raises:
        SchemaMismatch: the schema is newer than this code.
        Refused: the user may not do that.
        Away: ClickHouse does not answer, or cannot now.
    """
    database = connection(setting)["database"]
    try:
        with query_client(setting, database=None) as client:
            if not int(client.command(f"EXISTS DATABASE {quoted(database)}")):
                client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
        with query_client(setting) as client:
            return _apply(client, database)
    except Unavailable as error:
        if error.code in (READONLY, ACCESS_DENIED, AUTHENTICATION_FAILED):
            raise StartupError(
                f"POSTBACKS_CLICKHOUSE: its user may not do what is needed: {error}"
            ) from error
        raise


def _apply(client: Any, database: str) -> list[str]:
    known = migrations()
    there = schema_version(client)
    demand_not_newer(there, database)
    missing = [migration for migration in known if migration.version > there]
    for migration in missing:
        for statement in migration.statements(database):
            client.command(statement)
        client.insert(
            "schema_versions",
            [[migration.version, migration.name]],
            column_names=["version", "name"],
            settings={"async_insert": 0},
        )
        log.info("Applied to ClickHouse", migration=migration.name, database=database)
    return [migration.name for migration in missing]


def schema_version(client: Any) -> int:
    """The last migration that was applied to the client's database; 0 for none."""
    if not int(client.command("EXISTS TABLE schema_versions")):
        return 0
    return int(client.command("SELECT max(version) FROM schema_versions"))


def demand_not_newer(version: int, database: str) -> None:
    """
    Raises:
        SchemaMismatch: this code does not know that version.
    """
    newest = migrations()[-1].version
    if version > newest:
        raise SchemaMismatch(
            f"The schema of ClickHouse's database {database} has version {version}, this code knows up to "
            f"{newest}: upgrade it"
        )


def quoted(name: str) -> str:
    """An identifier of SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
