"""Codes are explained in ClickHouse as in Python, wherever they occur."""

from __future__ import annotations

from pydantic import SecretStr

from gateway.postback import encode
from gateway.sms_errors import SMS_ERRORS
from gateway.submission import SUBMISSIONS, Submission
from runtime.clickhouse.client import open_client
from streams.merge import merge, state_of
from streams.message import MESSAGES, Message, encode_message
from streams.receipt_codes import CODES
from tests.support.postbacks import at, receipt, sent
from tests.support.sinks import insert_values, rows
from tests.support.submissions import submission

IDS = [f"00000000-0000-4000-8000-{n:012x}" for n in range(4)]


def store(prepared_database: str, states: list[Message], answers: list[Submission]) -> None:
    """Insert states and submissions as the sink does."""
    with open_client(SecretStr(prepared_database)) as client:
        insert_values(client, MESSAGES, map(encode_message, states))
        insert_values(client, SUBMISSIONS, map(encode, answers))


def test_codes_are_those_of_python(prepared_database: str) -> None:
    stored = {(row["kind"], row["code"]): row for row in rows(prepared_database, "SELECT * FROM codes")}
    assert len(stored) == len(CODES) + len(SMS_ERRORS)
    for number, code in CODES.items():
        row = stored["receipt", number]
        assert (row["name"], row["status"], row["meaning"], row["action"]) == code
    for error in SMS_ERRORS:
        row = stored["SMSError", str(error.number)]
        assert (row["name"], row["meaning"], row["action"]) == (error.name, error.meaning, error.action)


def test_refused_sends_are_counted_by_error(prepared_database: str) -> None:
    nameless = submission("u3", 9, error=None, error_name="NewError", message_id=None)
    store(
        prepared_database,
        [],
        [
            submission("u1", error=3),
            submission("u1", 5, error=3),
            submission("u2", 7, error=3),
            nameless,
            submission(),
        ],
    )
    found = rows(prepared_database, "SELECT * FROM refused_by_error ORDER BY refused DESC")
    assert [(row["error"], row["error_name"], row["refused"], row["last_at"]) for row in found] == [
        (3, "PhoneNumberInvalid", 2, at(7)),
        (None, "NewError", 1, at(9)),
    ]
    assert found[0]["action"] == "Correct the number: 10 digits, or 1 and 10 digits"
    assert found[1]["action"] == ""


def test_submitted_messages_are_compared_with_sent_ones(prepared_database: str) -> None:
    unsent = state_of(submission(message_id=IDS[1]))
    unsent.unsent_at = at(900)
    states = [
        merge(state_of(submission(message_id=IDS[0])), sent(message_id=IDS[0])),
        unsent,
        state_of(submission(message_id=IDS[2], error=3)),
        state_of(submission(message_id=IDS[3], scheduled_for="2099-01-01T00:00:00.000Z")),
    ]
    store(prepared_database, states, [])
    (row,) = rows(prepared_database, "SELECT * FROM submitted_hourly")
    assert row == {
        "hour": "2026-11-23T12:00:00Z", "account": "acme", "submitted": 4, "refused": 1, "withdrawn": 0,
        "attempted": 1, "sent": 1, "unsent": 1,
    }  # fmt: skip
    assert [row["message_id"] for row in rows(prepared_database, "SELECT * FROM never_reported")] == [IDS[1]]
    assert [row["message_id"] for row in rows(prepared_database, "SELECT * FROM scheduled")] == [IDS[3]]


def test_receipts_are_explained(prepared_database: str) -> None:
    state = merge(state_of(receipt(code="024")), receipt("r2", 1, code="777"))
    store(prepared_database, [state], [])
    found = rows(prepared_database, "SELECT code, name, action FROM receipts_explained ORDER BY code")
    assert found == [
        {"code": "024", "name": "Undeliverable", "action": CODES["024"].action},
        {"code": "777", "name": "", "action": ""},
    ]
