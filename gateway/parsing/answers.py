"""Finds the provider's answers to a send in a body, and the request beside them. Pure.

The body is the answer as the provider gave it, JSON or XML, one object or an array; or an envelope with the
request beside it, `{"request": …, "response": …}`, where either may be JSON, or a string with JSON or XML.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.parsing.json_nodes import cut_array, cut_object, first_byte, read_json
from gateway.parsing.nodes import Node, Unreadable
from gateway.parsing.values import decode_text
from gateway.parsing.xml_nodes import looks_like_xml, read_xml

#: The XML element of one answer. Any other root is an array: which one the provider uses is not documented.
_ANSWER = "smsresponse"


class Answer(NamedTuple):
    """The provider's answer about one message, not interpreted."""

    #: As received.
    raw: bytes
    #: None if it cannot be read; then `error` says why.
    node: Node | None
    error: str = ""


class Exchange(NamedTuple):
    """What was posted."""

    #: In the order of the array.
    answers: list[Answer]
    #: None if there is none, or if it cannot be read; then `request_error` says why.
    request: Node | None
    request_error: str = ""


def read_exchange(body: bytes) -> Exchange:
    """Read a body.

    Raises:
        Unreadable: the body, or the answer in it, is neither JSON nor XML.
    """
    answer, request = _open_envelope(body)
    answers = _cut_answers(answer)
    if request is None:
        return Exchange(answers, None)
    try:
        node = read_xml(request)[0].node if looks_like_xml(request) else read_json(request)
    except Unreadable as error:
        return Exchange(answers, None, f"it is neither JSON nor XML: {error}")
    return Exchange(answers, node)


def _open_envelope(body: bytes) -> tuple[bytes, bytes | None]:
    """The bytes of the answer, and those of the request if there is one."""
    if looks_like_xml(body) or first_byte(body) != b"{":
        return body, None
    members = cut_object(body)
    if "response" not in members:
        return body, None
    request = members.get("request", b"null")
    return _unquote(members["response"]), None if request == b"null" else _unquote(request)


def _unquote(raw: bytes) -> bytes:
    """The document inside a JSON string; JSON that is not a string is the document itself."""
    if first_byte(raw) != b'"':
        return raw
    text = read_json(raw)
    return text.encode() if isinstance(text, str) else raw


def read_answer(raw: bytes) -> Answer:
    """Read an answer alone that was cut from a body (`Answer.raw`).

    An XML element lacks the declaration of its document: if it is not UTF-8, Windows-1252 is assumed.
    """
    if not looks_like_xml(raw):
        return _read_item(raw)
    error = ""
    for document in (raw, decode_text(raw).encode()):
        try:
            return Answer(raw, read_xml(document)[0].node)
        except Unreadable as unreadable:
            error = str(unreadable)
    return Answer(raw, None, error)


def _cut_answers(raw: bytes) -> list[Answer]:
    if looks_like_xml(raw):
        root, children = read_xml(raw)
        if root.name == _ANSWER:
            return [Answer(raw, root.node)]
        return [Answer(child.raw, child.node) for child in children]
    if first_byte(raw) == b"[":
        return [_read_item(item) for item in cut_array(raw)]
    return [Answer(raw, read_json(raw))]


def _read_item(raw: bytes) -> Answer:
    try:
        return Answer(raw, read_json(raw))
    except Unreadable as error:
        return Answer(raw, None, str(error))
