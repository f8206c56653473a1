"""The chain of one message, found in ClickHouse without reading all others."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from cli.__main__ import postbacks
from operations import linked_messages
from operations.linked_messages import find_chain
from operations.rows import Query, connect
from runtime.clickhouse.client import open_client
from runtime.settings import load_settings
from streams.message import MESSAGES, Message, encode_message
from tests.support.message_chains import chains_of, guid, line, retried
from tests.support.sinks import insert_values

LOOP, FORK, THEIRS, SHARED = 20, 30, 40, 50
ACME = [
    *line(10),
    retried(LOOP, LOOP + 1, second=1),
    retried(LOOP + 1, LOOP),
    retried(FORK, FORK + 1, FORK + 2, THEIRS),
    retried(FORK + 1, FORK + 3, code="005"),
    retried(FORK + 3, code="000"),
    *(retried(SHARED + number, SHARED, second=9 - number) for number in range(1, 9)),
]
OTHERS = [retried(THEIRS, THEIRS + 1, account="other"), retried(THEIRS + 2, FORK, account="other")]


@pytest.fixture
def query(prepared_database: str) -> Query:
    with open_client(SecretStr(prepared_database)) as client:
        insert_values(client, MESSAGES, map(encode_message, [*ACME, *OTHERS]))
    return connect(SecretStr(prepared_database))


def expected(messages: list[Message], number: int) -> list[tuple[list[str], str]]:
    return [
        (chain.message_ids, chain.status)
        for chain in chains_of(messages)
        if guid(number) in chain.message_ids
    ]


@pytest.mark.parametrize("number", [0, 5, 10, LOOP, LOOP + 1, FORK + 2, FORK + 3, SHARED, THEIRS])
def test_chain_of_any_message_is_found(query: Query, number: int) -> None:
    found = find_chain(query, "acme", guid(number))
    assert found is not None
    assert [(found.chain.message_ids, found.chain.status)] == expected(ACME, number)
    assert found.chain.message_ids[found.number - 1] == guid(number)


@pytest.mark.parametrize("number", [SHARED + 1, THEIRS + 2])
def test_message_without_retry_has_no_chain(query: Query, number: int) -> None:
    assert find_chain(query, "acme", guid(number)) is None


def test_backup_of_many_messages_is_bounded(query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked_messages, "MAX_LINKED", 3)
    found = find_chain(query, "acme", guid(SHARED))
    assert found is not None
    assert found.retried_message_id == guid(SHARED + 8)


@pytest.mark.usefixtures("query")
def test_timeline_shows_the_end_result(prepared_database: str) -> None:
    done = CliRunner().invoke(
        postbacks,
        ["message", guid(FORK + 1)],
        obj=lambda: load_settings({"POSTBACKS_CLICKHOUSE": prepared_database}),
    )
    assert done.exit_code == 0, done.output
    assert f"retry of    {guid(FORK)}\n" in done.output
    assert "of 5; end result delivered: delivered to the phone\n" in done.output
