"""What receipt codes and SMSErrors mean and what to do about them, in words. Pure."""

from __future__ import annotations

from gateway.sms_errors import BY_NUMBER, SmsError, read_sms_error
from streams.message import Message
from streams.receipt_codes import CODES


def sms_error_of(error: str) -> SmsError | None:
    """The listed SMSError with this name or number; None if it is not listed."""
    known = read_sms_error(error)
    return BY_NUMBER.get(known[0]) if known and known[0] is not None else None


def explain_error(error: str) -> str:
    """A message's `submission_error` with its meaning and what to do, if it is listed."""
    known = sms_error_of(error)
    return (
        f"{known.name}: {known.meaning}. {known.action}" if known else f"{error}: not in the provider's list"
    )


def explain_code(code: str) -> str:
    """A receipt's code with its meaning, and what to do if it is a failure."""
    known = CODES.get(code)
    if known is None:
        return "code not in the provider's list"
    action = f". {known.action}" if known.meaning == "failed" else ""
    return f"{known.name}: {known.description}{action}"


def reason_of(message: Message) -> str:
    """Why the message has its status, if a code says so; else empty."""
    if message.status == "refused":
        return explain_error(message.submission_error)
    if message.status == "failed":
        failed = [
            receipt.code
            for receipt in message.receipts
            if (known := CODES.get(receipt.code)) and known.meaning == "failed"
        ]
        return f"{failed[0]} {explain_code(failed[0])}" if failed else ""
    return ""
