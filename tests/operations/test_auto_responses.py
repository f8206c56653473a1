"""Automatic responses in ClickHouse: the unknown ones, and those that belong to a message."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from cli.__main__ import postbacks
from gateway.postback import format_time
from operations.auto_responses import REASONS, list_linked, list_unknown
from operations.rows import connect
from runtime.clickhouse.client import open_client
from runtime.settings import load_settings
from streams.auto_response import AUTO_RESPONSES, AutoResponse, Reason, encode_auto_response
from tests.support.auto_responses import NEW_ID, auto_response
from tests.support.postbacks import MESSAGE_ID, at
from tests.support.sinks import insert_values


@pytest.fixture
def records(prepared_database: str) -> list[AutoResponse]:
    """Intents of several ends."""
    now = format_time(datetime.now(UTC))
    records = [
        *(auto_response(f"a{n}", attempt=f"x{n}") for n in range(5)),
        auto_response("a0", 1, "accepted", attempt="x0", message_id=NEW_ID),
        auto_response("a1", 1, "unknown", attempt="x1", detail="no answer"),
        auto_response("a2", 1, "not_sent", attempt="x2", reason="contact_opted_out"),
        auto_response("a3", 1, "unknown", attempt="x3"),
        auto_response("a3", 2, "accepted", attempt="x3"),
        auto_response("a5", attempt="x5", at=now),
        auto_response("a6", outcome="declined", reason="no_rule", attempt=""),
    ]
    with open_client(SecretStr(prepared_database)) as client:
        insert_values(client, AUTO_RESPONSES, map(encode_auto_response, records))
    return records


@pytest.mark.usefixtures("records")
def test_unknown_and_unresolved_answers_are_listed(prepared_database: str) -> None:
    query = connect(SecretStr(prepared_database))
    assert [each.reference for each in list_unknown(query)] == ["respond-x4", "respond-x1"]
    assert [each.reference for each in list_unknown(query, datetime.fromisoformat(at(1)))] == ["respond-x1"]
    done = CliRunner().invoke(
        postbacks,
        ["respond", "--unknown", "--since", "2026-11-01"],
        obj=lambda: load_settings({"POSTBACKS_CLICKHOUSE": prepared_database}),
    )
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[2].split("\t")[1:] == [
        "7575550100",
        "hours",
        "respond-x1",
        "acme",
        "no answer",
    ]


@pytest.mark.usefixtures("records")
def test_responses_are_found_by_both_messages(prepared_database: str) -> None:
    query = connect(SecretStr(prepared_database))
    (answer,) = list_linked(query, NEW_ID)
    assert (answer.answered_message_id, answer.outcome) == (MESSAGE_ID, "accepted")
    assert [each.outcome for each in list_linked(query, MESSAGE_ID)] == [
        "accepted",
        "unknown",
        "not_sent",
        "accepted",
        "intent",
        "declined",
        "intent",
    ]


def test_every_reason_is_explained() -> None:
    assert set(REASONS) == set(Reason) - {Reason.ANSWER}
