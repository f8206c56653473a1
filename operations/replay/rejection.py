"""Parses a rejected request again: as a postback, or as the provider's answers to sends. Pure."""

from __future__ import annotations

from typing import NamedTuple, get_args

from gateway.parsing.submission import parse_answer, parse_answers
from gateway.rejected import NotAPostback, NotASubmission, RequestReason, SubmissionReason
from operations.replay.stored_request import (
    ReplayedRecord,
    StoredRequest,
    record_of,
    record_of_submission,
    request_of,
)

SUBMISSION_REASONS = frozenset(get_args(SubmissionReason))


class StoredRejection(StoredRequest, frozen=True, kw_only=True):
    """A row of `rejected`: a request, or one of the answers in its body."""

    rejection_id: str
    reason: str

    @property
    def is_answer(self) -> bool:
        return "/" in self.rejection_id


class Parsed(NamedTuple):
    """What a stored request is now."""

    records: list[ReplayedRecord]
    #: Why the rest of it, or all of it, still is neither a postback nor a submission.
    rejected: list[RequestReason]


def parse_again(request: StoredRequest) -> Parsed:
    """Parse a row of `postbacks` or `rejected`."""
    try:
        if isinstance(request, StoredRejection) and request.reason in SUBMISSION_REASONS:
            return _parse_submissions(request)
        return Parsed([record_of(request)], [])
    except (NotAPostback, NotASubmission) as error:
        return Parsed([], [error.reason])


def _parse_submissions(rejection: StoredRejection) -> Parsed:
    try:
        request = request_of(rejection)
        if rejection.is_answer:
            return Parsed([record_of_submission(parse_answer(request, rejection.rejection_id))], [])
        answers = parse_answers(request)
    except (NotASubmission, MemoryError):
        raise
    except Exception as error:
        raise NotASubmission("submission_failure", f"It could not be read: {error}") from error
    return Parsed(
        [record_of_submission(submission) for submission in answers.submissions],
        [rejected.error.reason for rejected in answers.rejected],
    )
