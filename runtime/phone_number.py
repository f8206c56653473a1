"""The canonical form of a phone number, and what is one. Pure."""

from __future__ import annotations

import re

_PUNCTUATION = re.compile(r"[\s().-]+")
_WRITTEN = re.compile(r"\+?([1-9][0-9]{4,14})")
_OTHER = re.compile(r"[^0-9]+")


def canonical(number: str) -> str:
    """Its digits; without the leading 1 if they are 11, as both forms of a US number occur."""
    digits = _OTHER.sub("", number)
    return digits[1:] if len(digits) == 11 and digits[0] == "1" else digits


def read_written(text: str) -> str | None:
    """The canonical form of what a person wrote; None unless it is a phone number of 5 to 15 digits.

    It may have `+`, spaces, dots, dashes and parentheses, but no prefix for dialling (00, 011): its canonical
    form would be another number.
    """
    match = _WRITTEN.fullmatch(_PUNCTUATION.sub("", text))
    return canonical(match[1]) if match else None
