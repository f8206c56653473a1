"""The canonical form of a phone number. Pure."""

from __future__ import annotations

import re

_OTHER = re.compile(r"[^0-9]+")


def canonical(number: str) -> str:
    """Its digits; without the leading 1 if they are 11, as both forms of a US number occur."""
    digits = _OTHER.sub("", number)
    return digits[1:] if len(digits) == 11 and digits[0] == "1" else digits
