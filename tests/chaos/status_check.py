"""Compares status, error and time of submission of each message with what follows from the posts."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, json

from tests.chaos.expected import ExpectedMessages


class Observed(Struct):
    """What the JSON of a message says; empty and null fields are omitted from it."""

    message_id: str
    status: str = "unknown"
    submission_error: str = ""
    submitted_at: str | None = None


_decode = json.Decoder(Observed).decode


def compare_with_posts(
    messages: Mapping[bytes, bytes], expected: ExpectedMessages, submitted_at: Mapping[str, str]
) -> dict[str, str]:
    """Compare encoded messages with the posts; return differences by MessageID.

    Args:
        submitted_at: when the first submission about a message was received, by MessageID.
    """
    observed = {message.message_id: message for message in map(_decode, messages.values())}
    wrong: dict[str, str] = {}
    for message_id in observed.keys() | expected.messages.keys():
        posted = expected.messages.get(message_id)
        must_be = posted and Observed(
            message_id, posted.status, posted.submission_error, submitted_at.get(message_id)
        )
        if must_be != observed.get(message_id):
            wrong[message_id] = f"{must_be}\n  is {observed.get(message_id)}"
    return wrong
