"""Delivery receipts: the meaning of the provider's codes, and a parser for SMPP-style receipt texts.

The code decides the status. A text may contradict its code (003 with err:000 was seen); both are stored.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Meaning = Literal["delivered", "in_transit", "failed"]


class ReceiptCode(NamedTuple):
    """A code of the provider's list. Names are the provider's; descriptions and actions are our advice."""

    name: str
    meaning: Meaning
    description: str
    #: What the sender should do.
    action: str


#: The provider's list. Carriers also send codes that are not on it: those are stored, without a meaning.
CODES: dict[str, ReceiptCode] = {
    "000": ReceiptCode("DeliveredToDevice", "delivered", "The phone has it", "Nothing"),
    "003": ReceiptCode(
        "DeliveredToCarrier",
        "in_transit",
        "The carrier has it",
        "Wait: a receipt of the phone may follow, or never come",
    ),
    "004": ReceiptCode(
        "Accepted",
        "in_transit",
        "The carrier has accepted it",
        "Wait: a receipt of the phone may follow, or never come",
    ),
    "005": ReceiptCode(
        "UndeliverableOrDeleted",
        "failed",
        "The carrier could not deliver it, or has deleted it",
        "Send it again later; if that fails too, check the number",
    ),
    "008": ReceiptCode(
        "Expired", "failed", "The phone could not be reached until the message expired", "Send it again later"
    ),
    "015": ReceiptCode(
        "InvalidServiceType",
        "failed",
        "The carrier does not allow this kind of message",
        "Ask the provider to check the short code with this carrier",
    ),
    "017": ReceiptCode(
        "InvalidCriteria",
        "failed",
        "The carrier does not accept a field of the message",
        "Ask the provider; sending it again fails likewise",
    ),
    "021": ReceiptCode(
        "MessageTooLong", "failed", "The carrier takes no message of this length", "Shorten the text"
    ),
    "023": ReceiptCode(
        "Rejected",
        "failed",
        "The carrier has rejected it",
        "Ask the provider why: the content, the sender, or a block by the subscriber",
    ),
    "024": ReceiptCode(
        "Undeliverable",
        "failed",
        "The carrier cannot deliver it to this phone",
        "Check that the number is a mobile phone in service",
    ),
    "028": ReceiptCode(
        "SenderExceededCarrierThrottle",
        "failed",
        "The sender has exceeded the carrier's rate",
        "Send more slowly, then send it again",
    ),
    "029": ReceiptCode(
        "RecipientExceededCarrierThrottle",
        "failed",
        "The recipient gets too many messages",
        "Send it again later",
    ),
    "030": ReceiptCode(
        "SenderAndRecipientExceededCarrierThrottle",
        "failed",
        "Both the sender's and the recipient's rates are exceeded",
        "Send more slowly, and send it again later",
    ),
    "032": ReceiptCode(
        "InvalidFormatOrContentTooLarge",
        "failed",
        "The format is not supported, or the content is too large",
        "Shorten the text, or send it without Unicode",
    ),
    "090": ReceiptCode("BadAddress", "failed", "The address is not valid", "Correct the number"),
    "091": ReceiptCode(
        "InvalidRouting",
        "failed",
        "The carrier is not supported from this number",
        "The provider tries a backup number, if the account has one; else use a long number",
    ),
    "999": ReceiptCode(
        "CarrierErrorUnknown",
        "failed",
        "The carrier reports an error without a reason",
        "Send it again once; if that fails too, ask the provider",
    ),
}


class ReceiptText(NamedTuple):
    """The fields of an SMPP-style text that operators search for, verbatim; None if missing or empty."""

    stat: str | None = None
    err: str | None = None
    #: YYMMDDhhmm, in an unspecified time zone.
    submit_date: str | None = None
    done_date: str | None = None


_LABELS = ("id", "sub", "dlvrd", "submit date", "done date", "stat", "err", "text")
_LABEL = re.compile(rf"(?<![^\s:])({'|'.join(_LABELS)}):", re.IGNORECASE)


def parse_receipt_text(text: str) -> ReceiptText:
    """Parse labelled fields, in any order and case. A value may have spaces, and ends at the next label."""
    labels = list(_LABEL.finditer(text))
    ends = [*(label.start() for label in labels), len(text)][1:]
    fields: dict[str, str] = {}
    for label, end in zip(labels, ends, strict=True):
        name = label[1].lower().replace(" ", "_")
        if name == "text":  # followed by the beginning of the message, which may contain text like a label
            break
        fields.setdefault(name, text[label.end() : end].strip())
    return ReceiptText(*(fields.get(name) or None for name in ReceiptText._fields))
