"""The contract of `SMSError`, the provider's verdict on a send: number, name, meaning, and what to do.

JSON answers have the number, XML answers the name. Only 0, NoError, means that the message is queued.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: As a number, or as a name; both bounded, as unlisted ones are stored.
_NUMBER = re.compile(r"[0-9]{1,6}")
_NAME = re.compile(r"(?!(?:true|false|null|none)$)[a-z][a-z0-9_]{0,63}", re.IGNORECASE)


class SmsError(NamedTuple):
    """An `SMSError` of the provider's list."""

    number: int
    name: str
    meaning: str
    #: What the sender should do.
    action: str
    #: Other names of it in the provider's documents.
    aliases: tuple[str, ...] = ()


NO_ERROR = 0

#: The provider's list. Others may occur, as it has grown before: they are stored, without a meaning.
SMS_ERRORS = (
    SmsError(NO_ERROR, "NoError", "The message is queued", "Nothing"),
    SmsError(
        1,
        "STOPfromPhoneNumber",
        "The recipient has sent STOP, and blocks all messages of this licence key",
        "Send nothing more to this number until the recipient sends RESUME",
    ),
    SmsError(
        2, "LicenseKeyInvalid", "The licence key is unknown", "Correct the licence key; no send can succeed"
    ),
    SmsError(
        3,
        "PhoneNumberInvalid",
        "The recipient's number is not a phone number that the provider can send to",
        "Correct the number: 10 digits, or 1 and 10 digits",
    ),
    SmsError(
        4,
        "MessageInvalid",
        "The text is empty, too long, or has characters that cannot be sent",
        "Correct the text",
    ),
    SmsError(
        5,
        "ScheduledDateTimeIsNotUTC",
        "The scheduled time is not in UTC",
        "Give ScheduledDateTime in UTC, ending in Z",
    ),
    SmsError(
        6,
        "InvalidAssignedDID",
        "The sender's number is not assigned to this licence key",
        "Send from a number that is assigned to the licence key",
    ),
    SmsError(
        7,
        "NotFound",
        "The MessageID is unknown; this answers a query or a cancellation, not a send",
        "Check the MessageID",
    ),
    SmsError(
        8,
        "InternalError",
        "The provider failed",
        "Ask the provider what became of it before sending again, as a repeat may arrive twice",
    ),
    SmsError(
        9,
        "AccountSuspended",
        "The provider has suspended the account",
        "Contact the provider; no send can succeed",
        ("ContactCdyneAccountSuspended", "ContactEsendexAccountSuspended"),
    ),
    SmsError(
        10,
        "AssignedDIDRequired",
        "The send does not name the sender's number, and the licence key has no default",
        "Give AssignedDID, a number that is assigned to the licence key",
    ),
)
BY_NUMBER = {error.number: error for error in SMS_ERRORS}
_BY_NAME = {name.lower(): error for error in SMS_ERRORS for name in (error.name, *error.aliases)}


def read_sms_error(text: str) -> tuple[int | None, str] | None:
    """The number and name of an `SMSError`, given as either; None if the text is neither.

    An unlisted number has the name "", and an unlisted name has no number. Names match in any case.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        known = BY_NUMBER.get(int(text))
        return int(text), known.name if known else ""
    if not _NAME.fullmatch(text):
        return None
    listed = _BY_NAME.get(text.lower())
    return (listed.number, listed.name) if listed else (None, text)
