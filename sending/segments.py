"""Counts the segments of a text: what a phone receives as one message is charged by the segment. Pure.

A text in the GSM alphabet takes one septet a character (two, if the character is in the extension table), any
other text is sent as UCS-2 in units of 16 bits. A segment of a longer text has less room, as it begins with a
concatenation header. Neither an extension character nor a surrogate pair is split over two segments.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

#: GSM 03.38: the basic alphabet, without its escape character, and the extension table.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")


class Encoding(StrEnum):
    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


class _Room(NamedTuple):
    """Units in the only segment of a text, and in each of several."""

    single: int
    concatenated: int


_ROOM = {Encoding.GSM_7: _Room(160, 153), Encoding.UCS_2: _Room(70, 67)}


class SegmentCount(NamedTuple):
    encoding: Encoding
    #: Septets of GSM-7, or 16-bit units of UCS-2.
    units: int
    segments: int
    #: The characters that are not in the GSM alphabet, each once: they make the text UCS-2.
    not_gsm: str


def count_segments(text: str, *, unicode: bool = False) -> SegmentCount:
    """Count the segments of a text; an empty text takes one.

    Args:
        unicode: whether it is sent as UCS-2 even if the GSM alphabet suffices.
    """
    not_gsm = "".join(dict.fromkeys(c for c in text if c not in _BASIC and c not in _EXTENSION))
    if unicode or not_gsm:
        encoding, widths = Encoding.UCS_2, [2 if ord(character) > 0xFFFF else 1 for character in text]
    else:
        encoding, widths = Encoding.GSM_7, [2 if character in _EXTENSION else 1 for character in text]
    units, room = sum(widths), _ROOM[encoding]
    segments = 1 if units <= room.single else _pack(widths, room.concatenated)
    return SegmentCount(encoding, units, segments, not_gsm)


def _pack(widths: Iterable[int], room: int) -> int:
    """The number of segments that hold characters of these widths, in order."""
    segments, used = 1, 0
    for width in widths:
        if used + width > room:
            segments, used = segments + 1, 0
        used += width
    return segments
