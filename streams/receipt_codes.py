"""Delivery receipts: what the provider's codes mean, and what an SMPP-style receipt text says.

The code decides; the text may contradict it (code 003 with err:000 was seen), and both are kept.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Meaning = Literal["delivered", "in_transit", "failed"]


class ReceiptCode(NamedTuple):
    name: str
    meaning: Meaning


#: The provider's list. Carriers differ, so other codes occur: they are kept, and mean nothing to the status.
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
    """The parts of an SMPP-style text that people ask for, as they stand in it; null where there are none."""

    stat: str | None = None
    err: str | None = None
    #: YYMMDDhhmm, in a zone that nobody states.
    submit_date: str | None = None
    done_date: str | None = None


_LABELS = ("id", "sub", "dlvrd", "submit date", "done date", "stat", "err", "text")
_LABEL = re.compile(rf"(?<![^\s:])({'|'.join(_LABELS)}):", re.IGNORECASE)


def parse_receipt_text(text: str) -> ReceiptText:
    """Find the labelled parts, in any order and case; values reach to the next label and may hold spaces."""
    labels = list(_LABEL.finditer(text))
    ends = [*(label.start() for label in labels), len(text)][1:]
    parts: dict[str, str] = {}
    for label, end in zip(labels, ends, strict=True):
        name = label[1].lower().replace(" ", "_")
        if name == "text":  # the rest is the message's own beginning, which may look like labels
            break
        parts.setdefault(name, text[label.end() : end].strip())
    return ReceiptText(*(parts.get(name) or None for name in ReceiptText._fields))
