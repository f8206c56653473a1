"""What delivery receipts say, in code and in text."""

from __future__ import annotations

import pytest

from streams.receipt_codes import CODES, ReceiptText, parse_receipt_text

PRINTED = (
    "sm: msg: id:18579674100201040 sub:001 dlvrd:001 submit date:1209281334 done date:1209281334 "
    "stat:DELIVERED TO CARRIER err:003 text:"
)


def test_the_providers_printed_text_is_read() -> None:
    assert parse_receipt_text(PRINTED) == ReceiptText(
        "DELIVERED TO CARRIER", "003", "1209281334", "1209281334"
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("DeliveredToDevice", ReceiptText()),
        ("", ReceiptText()),
        ("stat:delivrd ERR:000", ReceiptText(stat="delivrd", err="000")),
        ("err: stat:", ReceiptText()),
        ("stat:REJECTD text:err:5 stat:x", ReceiptText(stat="REJECTD")),
        ("thermostat:9 kerr:1", ReceiptText()),
    ],
)
def test_other_texts_are_read_as_far_as_they_go(text: str, parts: ReceiptText) -> None:
    assert parse_receipt_text(text) == parts


def test_every_final_failure_of_the_providers_list_is_one() -> None:
    assert {code for code, known in CODES.items() if known.meaning != "failed"} == {"000", "003", "004"}
    assert len(CODES) == 17
