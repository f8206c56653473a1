"""Stores the submissions of a request, and rejects each answer in it that is not one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from gateway.parsing.request import RawRequest
from gateway.parsing.submission import ParsedAnswers, parse_answers
from gateway.postback import encode
from gateway.rejected import REJECTED, NotASubmission, reject_request
from gateway.sink import Durability, Sink
from gateway.submission import SUBMISSIONS, submission_key
from runtime.batched import batched
from runtime.metrics import REJECTIONS

#: Records that are encoded and put together, so that a request does not take much more memory than its body.
PAGE_SIZE = 200
#: Rejected answers that the response describes.
DESCRIBED = 10

log = structlog.get_logger(__name__)


class Record(NamedTuple):
    """A record to put."""

    topic: str
    key: bytes
    value: bytes


class StoredAnswers(NamedTuple):
    """What became of a request."""

    #: What makes all of it durable; None if there is no submission in it, only rejections.
    durability: Durability | None
    #: For the client.
    text: str


async def store_answers(request: RawRequest, sink: Sink, new_id: Callable[[], str]) -> StoredAnswers:
    """Return once every submission and rejection of the request is durable.

    Args:
        new_id: returns a unique id for the rejection of a whole request.

    Raises:
        Unavailable: not all of it is known to be durable. The client should repeat the request: submissions
            that are stored already have the same event_id then.
    """
    try:
        parsed = parse_answers(request)
    except NotASubmission as error:
        await _put_all(sink, [_rejection(request, error, new_id())])
        return StoredAnswers(None, str(error))
    except Exception:  # a bug: the rejection can be parsed again with a fixed parser
        log.exception("Parser failed, request rejected")
        failure = NotASubmission("submission_failure", "It could not be read")
        await _put_all(sink, [_rejection(request, failure, new_id())])
        return StoredAnswers(None, str(failure))
    durability = await _put_all(sink, _records(request, parsed))
    return StoredAnswers(durability if parsed.submissions else None, "\n".join(_lines(parsed)))


def _records(request: RawRequest, parsed: ParsedAnswers) -> Iterator[Record]:
    for submission in parsed.submissions:
        yield Record(SUBMISSIONS, submission_key(submission), encode(submission))
    for rejected in parsed.rejected:
        yield _rejection(replace(request, body=rejected.raw), rejected.error, rejected.place)


def _rejection(request: RawRequest, error: NotASubmission, rejection_id: str) -> Record:
    rejection = reject_request(request, error.reason, rejection_id)
    REJECTIONS.labels("gateway", error.reason).inc()
    return Record(REJECTED, rejection.rejection_id.encode(), encode(rejection))


async def _put_all(sink: Sink, records: Iterable[Record]) -> Durability:
    """Put records, page by page; the weakest durability of them."""
    weakest = Durability.REPLICATED
    for page in batched(records, PAGE_SIZE):
        results = await asyncio.gather(*(sink.put(*record) for record in page), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
            if result is Durability.SPOOLED:
                weakest = result
    return weakest


def _lines(parsed: ParsedAnswers) -> Iterator[str]:
    """What the client should know: how many answers are stored, and why others are not."""
    kept, rejected = len(parsed.submissions), parsed.rejected
    if not kept and len(rejected) == 1:
        yield str(rejected[0].error)
    elif rejected:
        yield f"Kept {kept} of {kept + len(rejected)}"
        for answer in rejected[:DESCRIBED]:
            yield f"{answer.position + 1}: {answer.error}"
        if len(rejected) > DESCRIBED:
            yield f"and {len(rejected) - DESCRIBED} more"
    else:
        yield "Kept"
    if parsed.unused_request:
        yield f"Without the request: {parsed.unused_request}"
