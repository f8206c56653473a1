"""A message to send, and the two forms in which the provider takes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec import json

from sending.segments import Encoding, SegmentCount, count_segments

_PUNCTUATION = re.compile(r"[\s().-]+")
_DIGITS = re.compile(r"\+?([0-9]{5,15})")


@dataclass(frozen=True)
class OutgoingSms:
    """A message to one recipient.

    Numbers may be written with `+`, spaces, dots, dashes and parentheses; they are reduced to their digits.

    Raises:
        ValueError: a field is wrong; names the field, the value and what is allowed.
    """

    to_number: str
    text: str
    #: A number of the account; empty: the account's default.
    from_number: str = ""
    #: Free text, which the provider returns in every postback about the message.
    reference_id: str = ""
    #: Aware; None: at once.
    scheduled_for: datetime | None = None
    #: Contains a token, as a rule. Empty: the URL that the account has at the provider.
    status_postback_url: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "to_number", _read_digits("to_number", self.to_number))
        if self.from_number:
            object.__setattr__(self, "from_number", _read_digits("from_number", self.from_number))
        if not self.text.strip():
            raise ValueError(f"text={self.text!r}: must not be empty")
        for name, value in (("text", self.text), ("reference_id", self.reference_id)):
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError(f"{name}={value!r}: must be valid Unicode, without lone surrogates")
        if self.scheduled_for and self.scheduled_for.tzinfo is None:
            raise ValueError(f"scheduled_for={self.scheduled_for.isoformat()}: must have a time zone")
        if self.status_postback_url and not self.status_postback_url.startswith(("http://", "https://")):
            raise ValueError("status_postback_url: must be http://… or https://…")

    @property
    def segments(self) -> SegmentCount:
        """How many segments the text takes."""
        return count_segments(self.text)


def encode_advanced(messages: Sequence[OutgoingSms], license_key: str) -> bytes:
    """Encode the body of AdvancedSMSsend.

    Raises:
        ValueError: no message, or some in GSM-7 and some in UCS-2.
    """
    counts = [message.segments for message in messages]
    if len({count.encoding for count in counts}) != 1:
        raise ValueError("one call has one encoding: send messages in GSM-7 and in UCS-2 separately")
    body = {
        "LicenseKey": license_key,
        "Concatenate": any(count.segments > 1 for count in counts),
        "IsUnicode": counts[0].encoding is Encoding.UCS_2,
        "SMSRequests": [advanced_request(message) for message in messages],
    }
    # .NET marks a date in JSON by escaping its slashes; in any other text the escape means the same.
    return json.encode(body).replace(b"/", b"\\/")


def advanced_request(message: OutgoingSms) -> dict[str, Any]:
    """The element of `SMSRequests` for a message, without its empty fields."""
    scheduled = message.scheduled_for
    request = {
        "AssignedDID": message.from_number,
        "Message": message.text,
        "PhoneNumbers": [message.to_number],
        "ReferenceID": message.reference_id,
        "ScheduledDateTime": f"/Date({round(scheduled.timestamp() * 1000)})/" if scheduled else "",
        "StatusPostBackURL": message.status_postback_url,
    }
    return {name: value for name, value in request.items() if value}


def simple_parameters(message: OutgoingSms, license_key: str) -> dict[str, str]:
    """The query of SimpleSMSsendWithPostback.

    Raises:
        ValueError: the message has a field that only AdvancedSMSsend takes.
    """
    for name in ("from_number", "reference_id", "scheduled_for"):
        if getattr(message, name):
            raise ValueError(f"{name}: SimpleSMSsendWithPostback has no such parameter; use AdvancedSMSsend")
    return {
        "PhoneNumber": message.to_number,
        "Message": message.text,
        "LicenseKey": license_key,
        "StatusPostBackURL": message.status_postback_url,
    }


def _read_digits(name: str, value: str) -> str:
    match = _DIGITS.fullmatch(_PUNCTUATION.sub("", value))
    if not match:
        raise ValueError(f"{name}={value!r}: must be a phone number of 5 to 15 digits, such as 17575449510")
    return match[1]
