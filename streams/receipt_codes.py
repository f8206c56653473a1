"""Delivery receipts: the meaning of the provider's codes, and a parser for SMPP-style receipt texts.

The code decides the status. A text may contradict its code (003 with err:000 was seen); both are stored.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Meaning = Literal["delivered", "in_transit", "failed"]


class ReceiptCode(NamedTuple):
    name: str
    meaning: Meaning


#: The provider's list. Carriers also send codes that are not on it: those are stored, without a meaning.
CODES: dict[str, ReceiptCode] = {
    "000": ReceiptCode("DeliveredToDevice", "delivered"),
    "003": ReceiptCode("DeliveredToCarrier", "in_transit"),
    "004": ReceiptCode("Accepted", "in_transit"),
    "005": ReceiptCode("UndeliverableOrDeleted", "failed"),
    "008": ReceiptCode("Expired", "failed"),
    "015": ReceiptCode("InvalidServiceType", "failed"),
    "017": ReceiptCode("InvalidCriteria", "failed"),
    "021": ReceiptCode("MessageTooLong", "failed"),
    "023": ReceiptCode("Rejected", "failed"),
    "024": ReceiptCode("Undeliverable", "failed"),
    "028": ReceiptCode("SenderExceededCarrierThrottle", "failed"),
    "029": ReceiptCode("RecipientExceededCarrierThrottle", "failed"),
    "030": ReceiptCode("SenderAndRecipientExceededCarrierThrottle", "failed"),
    "032": ReceiptCode("InvalidFormatOrContentTooLarge", "failed"),
    "090": ReceiptCode("BadAddress", "failed"),
    "091": ReceiptCode("InvalidRouting", "failed"),
    "999": ReceiptCode("CarrierErrorUnknown", "failed"),
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
