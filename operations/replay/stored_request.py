"""Parses a stored request again, as if it had just been received. Pure.

Account and time are those of the original, so that a postback gets the same event_id and received_at as
before.
"""

from __future__ import annotations

from base64 import b64decode
from typing import NamedTuple

from msgspec import Struct

from gateway.parsing.postback import parse
from gateway.parsing.request import RawRequest
from gateway.postback import TOPIC_OF, Time, encode, postback_key
from gateway.rejected import NotAPostback
from gateway.submission import SUBMISSIONS, Submission, submission_key


class StoredRequest(Struct, frozen=True, kw_only=True):
    """The columns of `rejected` or `postbacks` that hold the request as received."""

    received_at: Time
    account: str
    client_ip: str
    query: str
    headers: dict[str, str]
    body: str
    #: Set instead of `body` if the body is not UTF-8.
    body_base64: str


class ReplayedRecord(NamedTuple):
    """A record as the gateway would publish it."""

    topic: str
    key: bytes
    value: bytes


def request_of(stored_request: StoredRequest) -> RawRequest:
    """The request as it was received."""
    return RawRequest(
        account=stored_request.account,
        query=stored_request.query,
        headers=list(stored_request.headers.items()),
        body=b64decode(stored_request.body_base64)
        if stored_request.body_base64
        else stored_request.body.encode(),
        client_ip=stored_request.client_ip,
        received_at=stored_request.received_at,
    )


def record_of_submission(submission: Submission) -> ReplayedRecord:
    """The record of a submission."""
    return ReplayedRecord(SUBMISSIONS, submission_key(submission), encode(submission))


def record_of(stored_request: StoredRequest) -> ReplayedRecord:
    """The postback in the request, as a record.

    Raises:
        NotAPostback: the request still is not one, or cannot be read (`failure`).
    """
    try:
        postback = parse(request_of(stored_request))
    except (NotAPostback, MemoryError):
        raise
    except Exception as error:
        raise NotAPostback("failure", f"It could not be read: {error}") from error
    key = postback_key(postback)
    return ReplayedRecord(TOPIC_OF[type(postback)], key, encode(postback))
