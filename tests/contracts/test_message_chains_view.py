"""The view `message_chains` against Python's: both yield the same for any messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import json

from operations.message_chain import MAX_RETRIES, MessageChain
from streams.message import MESSAGES, Message, encode_message
from tests.support.message_chains import chains_of, line, retried
from tests.support.sinks import insert_values


def insert(client: Any, *messages: Message) -> None:
    insert_values(client, MESSAGES, map(encode_message, messages))


def stored(client: Any) -> list[MessageChain]:
    """The rows of the view, ordered by account and first message."""
    rows = client.raw_query(
        "SELECT * FROM message_chains ORDER BY account, toString(first_message_id)",
        fmt="JSONEachRow",
        settings={"date_time_output_format": "iso"},
    )
    return [json.decode(row, type=MessageChain) for row in rows.splitlines()]


@st.composite
def stories(draw: st.DrawFn) -> list[Message]:
    """Messages of several accounts, many of them retries: also of themselves, in loops, and not stored."""
    keys = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=40, unique=True)
    return [
        retried(
            number,
            *draw(st.lists(st.integers(0, 9), max_size=3, unique=True)),
            second=draw(st.integers(0, 3)),
            code=draw(st.sampled_from(("091", "003", "000"))),
            account=account,
        )
        for account, number in draw(keys)
    ]


LIMITS = [
    *line(MAX_RETRIES, "longest"),
    *line(MAX_RETRIES + 3, "too long"),
    *line(MAX_RETRIES - 1, "loop"),
    retried(MAX_RETRIES - 1, 0, account="loop"),
    *line(MAX_RETRIES, "too long a loop"),
    retried(MAX_RETRIES, 0, account="too long a loop"),
    retried(0, *range(1, 120), account="more receipts than a message has"),
]


# Each example takes a quarter of a second of CPU time, so each has several accounts.
@settings(max_examples=12)
@given(stories())
@example(LIMITS)
def test_chains_are_those_of_python(client: Any, messages: list[Message]) -> None:
    client.command("TRUNCATE TABLE message_states")
    insert(client, *messages)
    assert stored(client) == chains_of(messages)


def test_columns_are_the_fields_of_a_chain(client: Any) -> None:
    columns = [name for name, *_ in client.query("DESCRIBE TABLE message_chains").result_rows]
    assert columns == [*MessageChain.__struct_fields__]


def test_chains_of_merged_states_stay(client: Any) -> None:
    messages: Sequence[Message] = [retried(1, 2), retried(2, code="000", second=9)]
    for each in [*messages, *messages]:
        insert(client, each)
    client.command("OPTIMIZE TABLE message_states FINAL")
    assert stored(client) == chains_of(messages)
