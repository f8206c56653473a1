"""Submissions for tests: a builder with sensible defaults, and a Hypothesis strategy."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gateway.sms_errors import BY_NUMBER
from gateway.submission import Submission
from streams.merge import Event
from tests.support.postbacks import MESSAGE_ID, at, postbacks


def submission(event_id: str = "u1", second: float = 0, error: int | None = 0, **others: Any) -> Submission:
    listed = BY_NUMBER.get(error) if error is not None else None
    fields: dict[str, Any] = {
        "message_id": MESSAGE_ID,
        "received_at": at(second),
        "account": "acme",
        "reference_id": "",
        "from_number": "",
        "to_number": "",
        "queued": error == 0,
        "error_name": listed.name if listed else "",
        "cancelled": False,
        "sent": False,
        "scheduled_for": None,
        "text": "",
        "occurred_at": None,
        "client_ip": "127.0.0.1",
        "query": "",
        "body": "",
        "extra": {},
    } | others
    return Submission(event_id=event_id, error=error, **fields)


def _built(event: int, second: int, with_request: bool, variant: int) -> Submission:
    """A submission whose answer is a function of the event, and its request of the variant, if it has one."""
    request: dict[str, Any] = {}
    if with_request:
        request = {
            "from_number": ("7", "74121")[variant % 2],
            "to_number": ("42", "17575449510")[variant // 2],
            "text": ("", "Your table is ready", "é", "\U0001f600")[variant],
            "scheduled_for": (None, at(12), at(-5), at(20))[variant],
        }
    reference = "of the answer" if event == 1 else ("", "7", "42", "of the request")[variant] * with_request
    return submission(
        f"u{event}",
        second,
        error=(0, 0, 0, 3, None, 77)[event],
        error_name=("NoError", "NoError", "NoError", "PhoneNumberInvalid", "NewError", "")[event],
        cancelled=event == 2,
        reference_id=reference,
        **request,
    )


#: Submissions of one message, with few event ids and times. Those of one event differ by their requests.
submissions: st.SearchStrategy[Submission] = st.builds(
    _built, st.integers(0, 5), st.integers(0, 30), st.booleans(), st.integers(0, 3)
)

events: st.SearchStrategy[Event] = st.one_of(postbacks, submissions)
