"""ClickHouse's schema: applied once, by whoever comes first, and never by code that is too old for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from runtime.clickhouse.client import SchemaMismatch, Unavailable, connection
from runtime.errors import StartupError
from sinks.migrate import migrate, migrations
from tests.support.sinks import execute, rows


def test_a_database_that_is_missing_is_made_and_a_second_time_nothing_is_left_to_do(database: str) -> None:
    setting = SecretStr(f"{database}_of_its_own")
    try:
        assert migrate(setting) == [migration.name for migration in migrations()]
        assert migrate(setting) == []
    finally:
        execute(database, f"DROP DATABASE {urlsplit(setting.get_secret_value()).path[1:]}")


def test_several_may_migrate_at_once(database: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        for applied in [threads.submit(migrate, SecretStr(database)) for _ in range(4)]:
            applied.result()
    versions = rows(database, "SELECT version FROM schema_versions FINAL ORDER BY version")
    assert [row["version"] for row in versions] == [migration.version for migration in migrations()]


def test_what_was_half_applied_is_applied_again(database: str) -> None:
    migrate(SecretStr(database))
    execute(database, "ALTER TABLE schema_versions DELETE WHERE version > 2 SETTINGS mutations_sync = 1")
    execute(database, "DROP VIEW messages_between")
    assert migrate(SecretStr(database)) == [migration.name for migration in migrations()[2:]]
    execute(database, "SELECT * FROM messages_between(since = now(), until = now())")


def test_a_newer_schema_is_refused(database: str) -> None:
    migrate(SecretStr(database))
    execute(database, "INSERT INTO schema_versions (version, name) VALUES (9999, '9999_later')")
    with pytest.raises(SchemaMismatch, match="has version 9999, this code knows up to"):
        migrate(SecretStr(database))


def test_versions_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_wrong_password_is_refused_and_not_waited_for(database: str) -> None:
    with pytest.raises(StartupError, match="POSTBACKS_CLICKHOUSE: its user may not do what is needed"):
        migrate(SecretStr(database.replace("default:", "default:wrong")))


def test_nobody_there_is_waited_for() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        migrate(SecretStr("http://127.0.0.1:1/postbacks"))


def test_the_settings_url_says_it_all() -> None:
    given = connection(SecretStr("https://me:p%40ss@ch.example/stored?ca_cert=/etc/ca.pem"))
    assert (
        given.items()
        >= {
            "host": "ch.example",
            "port": 8443,
            "secure": True,
            "username": "me",
            "password": "p@ss",
            "database": "stored",
            "ca_cert": "/etc/ca.pem",
        }.items()
    )
    assert connection(SecretStr("http://127.0.0.1:8123"))["database"] == "postbacks"
