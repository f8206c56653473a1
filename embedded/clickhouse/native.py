"""The header block of an empty result in ClickHouse's Native format.

The engine omits it, and clients would lose the column names.
"""

from __future__ import annotations

from collections.abc import Sequence


def header_block(columns: Sequence[tuple[str, str]]) -> bytes:
    """Encode a block of no rows with these columns, each a name and a type."""
    texts = [text.encode() for column in columns for text in column]
    return _varint(len(columns)) + _varint(0) + b"".join(_varint(len(text)) + text for text in texts)


def _varint(value: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
