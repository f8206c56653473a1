"""Single values of the provider in the contract's form: ids and phone numbers. Lenient, and never fails."""

from __future__ import annotations

import re

_CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DASHES_OPTIONAL = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")
_ZERO = "00000000-0000-0000-0000-000000000000"
_NO_DIGITS = re.compile(r"[^0-9]+")


def read_guid(text: str) -> str | None:
    """A GUID in any usual spelling, as lower case with dashes; None for anything else and the zero GUID.

    Usual are dashes or none, braces or parentheses around it, `urn:uuid:` before it, either case.
    """
    guid = text.strip().lower()
    if not _CANONICAL.fullmatch(guid):
        match = _DASHES_OPTIONAL.fullmatch(guid.removeprefix("urn:uuid:").strip("{}() "))
        if not match:
            return None
        guid = "-".join(match.groups())
    return None if guid == _ZERO else guid


def read_number(text: str) -> str:
    """The digits of a phone number or short code."""
    return text if text.isascii() and text.isdigit() else _NO_DIGITS.sub("", text)
