"""The calls that send messages, as the provider takes and answers them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec import DecodeError, Struct, ValidationError, json

from simulator.connection import Target
from simulator.postback import ZERO_GUID

#: `/Date(milliseconds)/`, with an optional zone that does not change the time.
_DOTNET_DATE = re.compile(r"/Date\((-?[0-9]{1,15})([+-][0-9]{4})?\)/")
#: SentDateTime of a message that is not sent yet, as the provider writes it.
_UNSET = "/Date(-62135578800000-0500)/"


class InvalidCall(Exception):
    """The call is answered with HTTP status 400. The text names the field and what is allowed."""


@dataclass(frozen=True)
class SendRequest:
    """A message to one recipient, as requested."""

    to_number: str
    text: str
    license_key: str
    from_number: str = ""
    reference_id: str = ""
    #: None: at once.
    scheduled_for: datetime | None = None
    #: ScheduledDateTime as received, if it cannot be read, or is not in UTC.
    wrong_schedule: str = ""
    #: None: where the account has its postbacks posted.
    target: Target | None = None


class _Request(Struct):
    PhoneNumbers: list[str]
    Message: str
    AssignedDID: str | None = None
    ReferenceID: str | None = None
    ScheduledDateTime: str | None = None
    StatusPostBackURL: str | None = None


class _Call(Struct):
    LicenseKey: str
    SMSRequests: list[_Request]


def read_advanced(body: bytes) -> list[SendRequest]:
    """Read the body of AdvancedSMSsend; one request for each number.

    Raises:
        InvalidCall: it is not such a call.
    """
    try:
        call = json.decode(body, type=_Call)
    except (ValidationError, DecodeError, UnicodeDecodeError) as error:
        raise InvalidCall(f"must be the JSON of AdvancedSMSsend: {error}") from None
    requests = [
        _request(
            number,
            request.Message,
            call.LicenseKey,
            request.AssignedDID or "",
            request.ReferenceID or "",
            request.ScheduledDateTime or "",
            request.StatusPostBackURL or "",
        )
        for request in call.SMSRequests
        for number in request.PhoneNumbers
    ]
    if not requests:
        raise InvalidCall("SMSRequests: must have at least one PhoneNumber")
    return requests


def read_simple(query: Mapping[str, str]) -> list[SendRequest]:
    """Read the query of SimpleSMSsendWithPostback; one request.

    Raises:
        InvalidCall: a parameter is missing or wrong.
    """
    for name in ("PhoneNumber", "Message", "LicenseKey"):
        if name not in query:
            raise InvalidCall(f"{name}: must be a parameter of SimpleSMSsendWithPostback")
    url = query.get("StatusPostBackURL", "")
    return [_request(query["PhoneNumber"], query["Message"], query["LicenseKey"], url=url)]


def encode_answers(answers: list[tuple[SendRequest, str | None, int]], *, many: bool) -> bytes:
    """Encode what a call answers.

    Args:
        answers: of each request, the MessageID (None: it is refused) and the number of SMSError.
        many: an array, as of AdvancedSMSsend, or the only answer itself.
    """
    encoded = [
        {
            "Cancelled": False,
            "MessageID": message_id or ZERO_GUID,
            "Queued": message_id is not None,
            "ReferenceID": request.reference_id,
            "SMSError": error,
            "SMSIncomingMessages": None,
            "Sent": False,
            "SentDateTime": _UNSET,
        }
        for request, message_id, error in answers
    ]
    # .NET marks a date in JSON by escaping its slashes.
    return json.encode(encoded if many else encoded[0]).replace(b"/", b"\\/")


def _request(
    number: str,
    text: str,
    license_key: str,
    from_number: str = "",
    reference_id: str = "",
    schedule: str = "",
    url: str = "",
) -> SendRequest:
    scheduled_for = _read_schedule(schedule)
    try:
        target = Target(url) if url else None
    except ValueError:
        # The URL is not quoted, as it contains a token.
        raise InvalidCall("StatusPostBackURL: must be http://host:port/path or https://…") from None
    return SendRequest(
        number,
        text,
        license_key,
        from_number,
        reference_id,
        scheduled_for,
        "" if scheduled_for else schedule,
        target,
    )


def _read_schedule(text: str) -> datetime | None:
    """Read ScheduledDateTime; None if it is empty, unreadable or not in UTC."""
    try:
        if date := _DOTNET_DATE.fullmatch(text):
            return datetime.fromtimestamp(int(date[1]) / 1000, UTC)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return at if at.utcoffset() is not None and not at.utcoffset() else None
