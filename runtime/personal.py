"""Keeps phone numbers out of the log: the last line of defence, behind code that does not log them.

What cannot be told by its form (tokens, texts of messages) is kept out where it is known; see also
`runtime.clickhouse.redaction`.
"""

from __future__ import annotations

import re
from typing import Any

import structlog

#: Digits as numbers of phones have them, alone: not in an id, a name, a version or a fraction. Short codes
#: are their customer's, and public.
_NUMBER = re.compile(r"(?<![\w.-])\+?[0-9]{6,11}([0-9]{4})(?![\w-]|\.[0-9])")
LEFT = r"…\1"


def redact_phone_numbers(
    _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """A processor of structlog: of each phone number its last four digits are left."""
    return {name: _shortened(value) for name, value in event.items()}


def _shortened(value: Any) -> Any:
    match value:
        case str():
            return _NUMBER.sub(LEFT, value)
        case None | bool() | int() | float():
            return value
        case dict():
            return {_shortened(key): _shortened(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_shortened(item) for item in value]
        case _:
            return _NUMBER.sub(LEFT, repr(value))
