"""The header block of an empty result in ClickHouse's Native format.

The engine leaves it out, and clients would lose the names of the columns.
"""

from __future__ import annotations

from collections.abc import Sequence


def header(columns: Sequence[tuple[str, str]]) -> bytes:
    """A block of no rows with these columns: (name, type)."""
    texts = [text.encode() for column in columns for text in column]
    return _number(len(columns)) + _number(0) + b"".join(_number(len(text)) + text for text in texts)


def _number(value: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
