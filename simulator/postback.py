"""Builds postback bodies as the provider does: lower-case escapes, US dates, unescaped receipts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["sent", "refused", "receipt", "reply", "inbound"]

_PLAIN = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.!*()-")
_ESCAPES = {byte: "+" if byte == 32 else f"%{byte:02x}" for byte in range(256) if byte not in _PLAIN}
ZERO_GUID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class SimulatedPostback:
    """The body of a postback, and what it means."""

    body: bytes
    kind: Kind
    #: The message that it is about; an inbound message's own id.
    message_id: str
    #: The code of a receipt.
    code: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """The fields that all postbacks about an outgoing message share."""

    message_id: str
    reference_id: str
    sender: str
    recipient: str


def sent(message: Message, at: datetime) -> SimulatedPostback:
    """The aggregator accepted the message."""
    return SimulatedPostback(_attempt(message, "1", at), "sent", message.message_id)


def refused(message: Message, at: datetime) -> SimulatedPostback:
    """The aggregator refused the message; the provider makes three attempts in all."""
    return SimulatedPostback(_attempt(message, "0", at), "refused", message.message_id)


def receipt(message: Message, code: str, text: str, backup_message_id: str = "") -> SimulatedPostback:
    """A receipt from the carrier or the handset. Its body is not escaped."""
    fields = [
        ("DeliveryReceipt", "1"),
        ("MessageID", message.message_id),
        ("ReferenceID", message.reference_id),
        ("FromPhoneNumber", message.sender),
        ("ToPhoneNumber", message.recipient),
        ("DeliveryReceiptMessage", text),
        ("Code", code),
    ]
    if backup_message_id:
        fields.append(("BackupMessageID", backup_message_id))
    body = "&".join(f"{name}={value}" for name, value in fields).encode()
    return SimulatedPostback(body, "receipt", message.message_id, code)


def receipt_text(number: int, status: str, error: str, submitted: datetime, done: datetime) -> str:
    """Build the text of an SMPP receipt, as the provider forwards it."""
    return (
        f"sm: msg: id:{number} sub:001 dlvrd:{'001' if error in ('000', '003') else '000'} "
        f"submit date:{submitted:%y%m%d%H%M} done date:{done:%y%m%d%H%M} stat:{status} err:{error} text:"
    )


def reply(message: Message, reply_id: str, text: str, at: datetime) -> SimulatedPostback:
    """The recipient replied: the numbers are swapped, and MessageID is the reply's own."""
    return SimulatedPostback(
        _response(message, reply_id, message.message_id, text, at), "reply", message.message_id
    )


def inbound(message: Message, matched: str | None, text: str, at: datetime) -> SimulatedPostback:
    """A message that is not a reply. `matched` is its MatchedMessageID: empty, zero, or None for no field."""
    return SimulatedPostback(
        _response(message, message.message_id, matched, text, at), "inbound", message.message_id
    )


def us_date(at: datetime) -> str:
    """Format a time like `5/8/2010 2:42:36 AM`."""
    return f"{at.month}/{at.day}/{at.year} {at.hour % 12 or 12}:{at:%M:%S %p}"


def escape(text: str) -> str:
    """Escape like .NET's UrlEncode: UTF-8, lower-case hex digits, a plus for a space."""
    return text.encode().decode("latin-1").translate(_ESCAPES)


def _attempt(message: Message, success: str, at: datetime) -> bytes:
    return _form(
        ("SMSSent", success),
        ("MessageID", message.message_id),
        ("ReferenceID", message.reference_id),
        ("FromPhoneNumber", message.sender),
        ("ToPhoneNumber", message.recipient),
        ("SentTime", us_date(at)),
    )


def _response(message: Message, own_id: str, matched: str | None, text: str, at: datetime) -> bytes:
    match: Sequence[tuple[str, str]] = [] if matched is None else [("MatchedMessageID", matched)]
    return _form(
        ("SMSResponse", "1"),
        ("MessageID", own_id),
        *match,
        ("ReferenceID", message.reference_id),
        ("FromPhoneNumber", message.recipient),
        ("ToPhoneNumber", message.sender),
        ("ResponseReceiveDate", us_date(at)),
        ("Message", text),
    )


def _form(*fields: tuple[str, str]) -> bytes:
    return "&".join(f"{name}={escape(value)}" for name, value in fields).encode()
