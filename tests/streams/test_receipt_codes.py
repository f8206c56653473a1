"""Delivery receipts: the meaning of codes, and the parser of texts."""

from __future__ import annotations

import pytest

from streams.receipt_codes import CODES, ReceiptText, parse_receipt_text

DOCUMENTED = (
    "sm: msg: id:18579674100201040 sub:001 dlvrd:001 submit date:1209281334 done date:1209281334 "
    "stat:DELIVERED TO CARRIER err:003 text:"
)


def test_documented_text_is_parsed() -> None:
    assert parse_receipt_text(DOCUMENTED) == ReceiptText(
        "DELIVERED TO CARRIER", "003", "1209281334", "1209281334"
    )


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("DeliveredToDevice", ReceiptText()),
        ("", ReceiptText()),
        ("stat:delivrd ERR:000", ReceiptText(stat="delivrd", err="000")),
        ("err: stat:", ReceiptText()),
        ("stat:REJECTD text:err:5 stat:x", ReceiptText(stat="REJECTD")),
        ("thermostat:9 kerr:1", ReceiptText()),
    ],
)
def test_irregular_text_yields_its_labelled_fields(text: str, fields: ReceiptText) -> None:
    assert parse_receipt_text(text) == fields


def test_codes_except_three_are_failures() -> None:
    assert {code for code, known in CODES.items() if known.meaning != "failed"} == {"000", "003", "004"}
    assert len(CODES) == 17
