"""Parses the provider's answers to a send into submissions. Pure: no clock, no network, no randomness.

Each answer of an array is a submission or is rejected by itself. The answer's fields come first; the request,
if it was posted too, adds what the answer does not have.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from msgspec import json

from gateway.parsing.answers import Answer, Exchange, read_answer, read_exchange
from gateway.parsing.nodes import Fields, Node, Unreadable, text_at
from gateway.parsing.request import RawRequest
from gateway.parsing.send_request import RequestedMessage, match_answers, read_requests
from gateway.parsing.values import decode_text, read_guid, read_time
from gateway.postback import encode_body
from gateway.rejected import NotASubmission
from gateway.sms_errors import NO_ERROR, read_sms_error
from gateway.submission import Submission

#: Answers in one array: more than the largest allowed body has, if they are complete.
MAX_ANSWERS = 2_000
#: Characters of a value that a sentence quotes.
QUOTED = 40
_KNOWN = frozenset(
    (
        "cancelled",
        "messageid",
        "queued",
        "referenceid",
        "smserror",
        "smsincomingmessages",
        "sent",
        "sentdatetime",
    )
)
_encode_sorted = json.Encoder(order="sorted").encode


class RejectedAnswer(NamedTuple):
    """An answer that is not a submission."""

    #: In the array, from 0.
    position: int
    #: Identifies it among all answers of all bodies: a hash of those in the body, a slash, and its position.
    place: str
    #: As received.
    raw: bytes
    error: NotASubmission


class ParsedAnswers(NamedTuple):
    """The answers of a body, at least one."""

    submissions: list[Submission]
    rejected: list[RejectedAnswer]
    #: Why the request beside the answers is not used; empty if it is, or if there is none.
    unused_request: str


def parse_answers(request: RawRequest) -> ParsedAnswers:
    """Parse a request's body.

    Raises:
        NotASubmission: the body as a whole is unreadable, or has no answers or too many.
    """
    try:
        exchange = read_exchange(request.body)
    except Unreadable as error:
        raise NotASubmission("undecodable_submission", f"It must be JSON or XML: {error}") from None
    answers = exchange.answers
    if not answers:
        raise NotASubmission("no_submission", "There is no answer in it")
    if len(answers) > MAX_ANSWERS:
        raise NotASubmission(
            "undecodable_submission", f"There are {len(answers)} answers in it, at most {MAX_ANSWERS} may be"
        )
    messages, unused_request = _match_request(exchange)
    together = _digest([request.account, [_content(answer) for answer in answers]])
    submissions: list[Submission] = []
    rejected: list[RejectedAnswer] = []
    for position, answer in enumerate(answers):
        place = f"{together}/{position}"
        try:
            submissions.append(_read_submission(request, answer, messages[position], place))
        except NotASubmission as error:
            rejected.append(RejectedAnswer(position, place, answer.raw, error))
    return ParsedAnswers(submissions, rejected, unused_request)


def parse_answer(request: RawRequest, place: str) -> Submission:
    """Parse one answer that was rejected: the request's body is its `raw`, without what was posted with it.

    Raises:
        NotASubmission: it still is not one.
    """
    return _read_submission(request, read_answer(request.body), RequestedMessage(), place)


def _match_request(exchange: Exchange) -> tuple[list[RequestedMessage], str]:
    """What each answer is about by the request, and why the request is not used."""
    unknown = [RequestedMessage()] * len(exchange.answers)
    if exchange.request is None:
        return unknown, exchange.request_error
    requests = read_requests(exchange.request)
    if not requests:
        return unknown, "there is no Message in it"
    references = [
        text_at(answer.node, "referenceid") if isinstance(answer.node, dict) else ""
        for answer in exchange.answers
    ]
    return match_answers(requests, references), ""


def _read_submission(
    request: RawRequest, answer: Answer, message: RequestedMessage, place: str
) -> Submission:
    """
    Args:
        place: as in `RejectedAnswer`.
    """
    if answer.node is None:
        raise NotASubmission("undecodable_submission", f"It must be JSON: {answer.error}")
    if not isinstance(answer.node, dict) or "smserror" not in answer.node:
        raise NotASubmission("no_submission", "There is no SMSError in it")
    fields = answer.node
    error = read_sms_error(text_at(fields, "smserror"))
    if error is None:
        raise NotASubmission(
            "no_submission", f"SMSError must be a number or a name, not {_quote(fields['smserror'][0])}"
        )
    number, name = error
    message_id = read_guid(text_at(fields, "messageid"))
    sent = message.request
    body, body_base64 = encode_body(answer.raw)
    return Submission(
        event_id=_digest([request.account, fields] if message_id else [request.account, fields, place]),
        message_id=message_id,
        account=request.account,
        reference_id=text_at(fields, "referenceid") or sent.reference_id,
        from_number=sent.from_number,
        to_number=message.to_number,
        queued=_read_flag(fields, "Queued", number == NO_ERROR),
        error=number,
        error_name=name,
        cancelled=_read_flag(fields, "Cancelled", False),
        sent=_read_flag(fields, "Sent", False),
        scheduled_for=sent.scheduled_for,
        text=sent.text,
        occurred_at=read_time(text_at(fields, "sentdatetime")),
        received_at=request.received_at,
        client_ip=request.client_ip,
        query=request.query,
        body=body,
        extra={name: _text(values) for name, values in fields.items() if name not in _KNOWN},
        body_base64=body_base64,
    )


def _read_flag(fields: Fields, name: str, default: bool) -> bool:
    values = fields.get(name.lower())
    if not values:
        return default
    text = values[0].strip().lower() if isinstance(values[0], str) else ""
    if text in ("true", "1"):
        return True
    if text in ("false", "0"):
        return False
    raise NotASubmission("no_submission", f"{name} must be true or false, not {_quote(values[0])}")


def _quote(value: Node) -> str:
    text = _text([value])
    return repr(text if len(text) <= QUOTED else f"{text[:QUOTED]}…")


def _text(values: list[Node]) -> str:
    """A field's value as text; JSON if it is nested or repeats."""
    value = values[0] if len(values) == 1 else values
    return value if isinstance(value, str) else _encode_sorted(value).decode()


def _content(answer: Answer) -> Node:
    return decode_text(answer.raw) if answer.node is None else answer.node


def _digest(content: object) -> str:
    """Hash content as decoded text, before it is interpreted: a better parser does not change it."""
    return blake2b(_encode_sorted(content), digest_size=16, person=b"submission").hexdigest()
