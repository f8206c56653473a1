"""Generates docs/receipt-codes.md: every receipt code, what it means and what to do about it."""

from __future__ import annotations

from streams.receipt_codes import CODES

HEAD = """# Receipt codes

<!-- Written by `make docs` from streams/receipt_codes.py. -->

The `Code` of a delivery receipt. Codes and names are the provider's, what to do about them is our advice.
Carriers also send others, which are stored as they are and change no status. ClickHouse's `codes` has these
and the [SMSErrors](sms-errors.md) of submissions.

| code | name | the message is | meaning | what to do |
|---|---|---|---|---|
"""


def page() -> str:
    return HEAD + "".join(
        f"| {number} | {code.name} | {code.meaning.replace('_', ' ')} "
        f"| {code.description} | {code.action} |\n"
        for number, code in CODES.items()
    )
