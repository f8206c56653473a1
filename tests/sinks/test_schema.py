"""Migrations are applied once, also by concurrent processes, and never by code older than the schema."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from runtime.clickhouse.client import INSERT_SETTINGS, connection, open_client
from runtime.clickhouse.errors import ClickHouseUnavailable, SchemaMismatch
from runtime.errors import StartupError
from sinks.migrate import migrate, migrations
from sinks.rows import splice
from sinks.tables import CONTACT_STATES, MESSAGE_STATES
from streams.contact import CONTACTS, encode_contact, merge_contact
from streams.merge import merge
from streams.message import MESSAGES, decode_message, encode_message
from tests.support.contact_events import contact_event
from tests.support.postbacks import at
from tests.support.process import ROOT
from tests.support.records import FakeRecord
from tests.support.sinks import execute, rows, stored_messages
from tests.support.submissions import submission

#: The schema before messages had submissions, and the fields that sinks inserted then.
EARLIER_VERSION = 6
EARLIER_FIELDS = (
    "version", "message_id", "account", "direction", "reference_id", "from_number", "to_number",
    "reference_rank", "from_rank", "to_rank", "first_seen_at", "last_seen_at", "sent_at", "carrier_at",
    "delivered_at", "failed_at", "replied_at", "overdue_at", "attempts", "receipts", "replies", "cluster",
)  # fmt: skip
RECORDS = sorted((ROOT / "tests" / "fixtures" / "records" / "v1").glob("messages*.json"))


def test_missing_database_is_created_and_migrated_once(database: str) -> None:
    setting = SecretStr(f"{database}_new")
    try:
        assert migrate(setting) == [migration.name for migration in migrations()]
        assert migrate(setting) == []
    finally:
        execute(database, f"DROP DATABASE {urlsplit(setting.get_secret_value()).path[1:]}")


def test_concurrent_migrations_succeed(database: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        for applied in [threads.submit(migrate, SecretStr(database)) for _ in range(4)]:
            applied.result()
    versions = rows(database, "SELECT version FROM schema_versions FINAL ORDER BY version")
    assert [row["version"] for row in versions] == [migration.version for migration in migrations()]


def test_untimed_opt_outs_of_earlier_schema_stay(database: str) -> None:
    stop = merge_contact(None, contact_event(occurred_at=None))
    fields = tuple(field for field in CONTACT_STATES.fields if field != "untimed_latest")

    def insert() -> None:
        record = FakeRecord(CONTACTS, value=encode_contact(stop))
        with open_client(SecretStr(database)) as client:
            client.raw_insert(
                CONTACT_STATES.name,
                column_names=fields,
                insert_block=splice(CONTACT_STATES.suffix, "cluster", [record]),
                settings=INSERT_SETTINGS,
                fmt="JSONEachRow",
            )

    migrate_up_to(database, 18)
    insert()
    migrate(SecretStr(database))
    verdict = "SELECT verdict, since FROM contact_verdicts(scope = 'account', yes = 0) WHERE own_number = ''"
    for _ in range(2):
        assert rows(database, verdict) == [{"verdict": "opted_out", "since": at(0)}]
        insert()  # as an earlier sink does
        execute(database, "OPTIMIZE TABLE contact_states FINAL")


def test_partly_applied_migration_is_applied_again(database: str) -> None:
    migrate(SecretStr(database))
    execute(database, "ALTER TABLE schema_versions DELETE WHERE version > 2 SETTINGS mutations_sync = 1")
    execute(database, "DROP VIEW messages_between")
    assert migrate(SecretStr(database)) == [migration.name for migration in migrations()[2:]]
    execute(database, "SELECT * FROM messages_between(since = now(), until = now())")


def migrate_up_to(database: str, version: int) -> None:
    for migration in migrations()[:version]:
        for statement in migration.statements(connection(SecretStr(database))["database"]):
            execute(database, statement)
    execute(database, f"INSERT INTO schema_versions (version, name) VALUES ({version}, 'earlier')")


def test_states_of_earlier_schema_are_read_after_migration(database: str) -> None:
    setting = SecretStr(database)
    migrate_up_to(database, EARLIER_VERSION)
    states = [file.read_bytes().strip() for file in RECORDS if b'"submissions"' not in file.read_bytes()]
    insert_rows(database, EARLIER_FIELDS, states)
    assert migrate(setting) == [migration.name for migration in migrations()[EARLIER_VERSION:]]
    earlier = {state.message_id: state for state in map(decode_message, states)}
    assert stored_messages(database) == earlier
    answers = {
        state.message_id: merge(state, submission(message_id=state.message_id, text="Hello"))
        for state in earlier.values()
    }
    insert_rows(database, MESSAGE_STATES.fields, map(encode_message, answers.values()))
    assert stored_messages(database) == answers
    execute(database, "OPTIMIZE TABLE message_states FINAL")
    assert stored_messages(database) == answers


def insert_rows(database: str, fields: Sequence[str], states: Iterable[bytes]) -> None:
    records = [FakeRecord(MESSAGES, offset=n, value=state) for n, state in enumerate(states)]
    with open_client(SecretStr(database)) as client:
        client.raw_insert(
            MESSAGE_STATES.name,
            column_names=list(fields),
            insert_block=splice(MESSAGE_STATES.suffix, "cluster", records),
            settings=INSERT_SETTINGS,
            fmt="JSONEachRow",
        )


def test_newer_schema_is_a_mismatch(database: str) -> None:
    migrate(SecretStr(database))
    execute(database, "INSERT INTO schema_versions (version, name) VALUES (9999, '9999_later')")
    with pytest.raises(SchemaMismatch, match="has version 9999, this code knows up to"):
        migrate(SecretStr(database))


def test_versions_are_consecutive() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_wrong_password_is_a_startup_error(database: str) -> None:
    with pytest.raises(StartupError, match="POSTBACKS_CLICKHOUSE: the user lacks the privileges"):
        migrate(SecretStr(database.replace("default:", "default:wrong")))


def test_unreachable_clickhouse_is_unavailable() -> None:
    with pytest.raises(ClickHouseUnavailable, match=r"127.0.0.1:1 does not answer: .*refused"):
        migrate(SecretStr("http://127.0.0.1:1/postbacks"))


def test_url_becomes_client_arguments() -> None:
    arguments = connection(SecretStr("https://me:p%40ss@ch.example/stored?ca_cert=/etc/ca.pem"))
    assert (
        arguments.items()
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
