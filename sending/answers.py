"""What the provider answers to a send: one SMSResponse or an array of them, in JSON or XML. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from msgspec import DecodeError, json

from gateway.sms_errors import BY_NUMBER, NO_ERROR, SmsError, read_sms_error

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ZERO_GUID = "00000000-0000-0000-0000-000000000000"


class UndecodableAnswer(Exception):
    """The body is no answer to a send. The text says why, and quotes nothing of it."""


@dataclass(frozen=True)
class SmsResponse:
    """The provider's answer about one message. Whether it is queued follows from SMSError alone."""

    #: In lower case; None if missing, invalid or the zero GUID.
    message_id: str | None
    #: Number and name of SMSError, as of `read_sms_error`.
    error: int | None
    error_name: str
    queued: bool
    cancelled: bool
    sent: bool
    reference_id: str

    @property
    def is_queued(self) -> bool:
        """Whether the provider will send the message."""
        return self.error == NO_ERROR

    @property
    def listed_error(self) -> SmsError | None:
        """The error with its meaning and what to do; None if the provider's list does not have it."""
        return None if self.error is None else BY_NUMBER.get(self.error)

    @property
    def explanation(self) -> str:
        """The error's name and meaning, and what to do, in one line."""
        if listed := self.listed_error:
            return f"{listed.name}: {listed.meaning}. {listed.action}"
        name = self.error_name if self.error is None else self.error
        return f"SMSError {name}: it is not on the provider's list. Ask the provider"


def decode_answers(body: bytes) -> list[SmsResponse]:
    """Decode the answers of a call, in their order; at least one.

    Raises:
        UndecodableAnswer: the body is not an SMSResponse, nor a non-empty array of them.
    """
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    elements = _read_xml(body) if body.startswith(b"<") else _read_json(body)
    if not elements:
        raise UndecodableAnswer("the answer has no SMSResponse")
    return [_read_response(element) for element in elements]


def _read_response(fields: object) -> SmsResponse:
    if not isinstance(fields, Mapping):
        raise UndecodableAnswer("an element of the answer is not an SMSResponse")
    value = fields.get("SMSError")
    error = read_sms_error(str(value)) if isinstance(value, int | str) else None
    if error is None:
        raise UndecodableAnswer("an element of the answer has no SMSError")
    guid = str(fields.get("MessageID") or "").strip().lower()
    return SmsResponse(
        guid if _GUID.fullmatch(guid) and guid != _ZERO_GUID else None,
        *error,
        queued=_is_true(fields.get("Queued")),
        cancelled=_is_true(fields.get("Cancelled")),
        sent=_is_true(fields.get("Sent")),
        reference_id=str(fields.get("ReferenceID") or ""),
    )


def _is_true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() in ("true", "1"))


def _read_json(body: bytes) -> list[Any]:
    try:
        decoded = json.decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise UndecodableAnswer("the answer is neither JSON nor XML") from None
    return decoded if isinstance(decoded, list) else [decoded]


def _read_xml(body: bytes) -> list[dict[str, str]]:
    try:
        text = body.decode()
        if "<!DOCTYPE" in text or "\0" in text:  # it may define entities, which expand; also in UTF-16
            raise UndecodableAnswer("the answer has a document type")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeDecodeError):
        raise UndecodableAnswer("the answer is not valid XML") from None
    elements = [element for element in (root, *root) if _local_name(element) == "SMSResponse"]
    return [{_local_name(child): child.text or "" for child in element} for element in elements]


def _local_name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
