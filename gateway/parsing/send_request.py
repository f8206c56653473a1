"""What was sent, from the request of a send; and which part of it each answer is about. Pure.

The request is that of AdvancedSMSsend, with SMSRequests of many PhoneNumbers, or that of SimpleSMSsend and
SimpleSMSsendWithPostback, with one PhoneNumber. Licence keys and URLs in it are not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from gateway.parsing.nodes import Fields, Node, text_at
from gateway.parsing.values import read_number, read_time
from gateway.postback import Time, is_time
from gateway.submission import MAX_TEXT

MAX_NUMBER = 32
_SEPARATORS = re.compile(r"[;,]")


class SmsRequest(NamedTuple):
    """A text to one or more numbers."""

    text: str = ""
    from_number: str = ""
    to_numbers: tuple[str, ...] = ()
    reference_id: str = ""
    scheduled_for: Time | None = None


class RequestedMessage(NamedTuple):
    """What an answer's message is, by the request; empty where that is unknown."""

    request: SmsRequest = SmsRequest()
    to_number: str = ""


def read_requests(node: Node) -> list[SmsRequest]:
    """The texts that a request sends; none if it is not the request of a send."""
    if isinstance(node, dict) and "smsrequests" in node:
        node = [item for value in node["smsrequests"] for item in _items(value, "smsrequest")]
    requests = node if isinstance(node, list) else [node]
    return [_request(item) for item in requests if isinstance(item, dict) and "message" in item]


def match_answers(requests: Sequence[SmsRequest], references: Sequence[str]) -> list[RequestedMessage]:
    """What each answer is about, given the answers' ReferenceIDs.

    If there are as many answers as numbers, they are in the same order (which the provider does not document,
    so no ReferenceID may contradict it). Else an answer is about the only request, or the only one with its
    ReferenceID.
    """
    messages = [
        RequestedMessage(request, number) for request in requests for number in request.to_numbers or ("",)
    ]
    if len(messages) == len(references) and all(
        _agree(message.request.reference_id, reference)
        for message, reference in zip(messages, references, strict=True)
    ):
        return messages
    return [_by_reference(requests, reference) for reference in references]


def _by_reference(requests: Sequence[SmsRequest], reference: str) -> RequestedMessage:
    matching = [request for request in requests if reference and request.reference_id == reference]
    if not matching and len(requests) == 1 and _agree(requests[0].reference_id, reference):
        matching = list(requests)
    if len(matching) != 1:
        return RequestedMessage()
    numbers = matching[0].to_numbers
    return RequestedMessage(matching[0], numbers[0] if len(numbers) == 1 else "")


def _agree(requested: str, answered: str) -> bool:
    return not requested or not answered or requested == answered[:MAX_TEXT]


def _items(value: Node, name: str) -> list[Node]:
    """The items of an array: in JSON a list, in XML elements of that name."""
    if isinstance(value, dict) and name in value:
        return value[name]
    return value if isinstance(value, list) else [value]


def _request(fields: Fields) -> SmsRequest:
    scheduled_for = read_time(text_at(fields, "scheduleddatetime"))
    return SmsRequest(
        text_at(fields, "message")[:MAX_TEXT],
        read_number(text_at(fields, "assigneddid"))[:MAX_NUMBER],
        tuple(_numbers(fields)),
        text_at(fields, "referenceid")[:MAX_TEXT],
        scheduled_for if scheduled_for and is_time(scheduled_for) else None,
    )


def _numbers(fields: Fields) -> list[str]:
    values = [
        item
        for name in ("phonenumbers", "phonenumber")
        for value in fields.get(name, ())
        for item in _items(value, "string")
    ]
    texts = [text for value in values if isinstance(value, str) for text in _SEPARATORS.split(value)]
    return [read_number(text)[:MAX_NUMBER] for text in texts if text.strip()]
