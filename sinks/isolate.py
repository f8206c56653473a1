"""Which rows of a refused batch are at fault: what to try next, until a row is refused all alone. Pure.

ClickHouse names the row at which it stopped. That one is tried alone, and the others without it: as long as
few are bad, each costs two more inserts. Where many are, or none is named, the batch is split. The name is a
hint only: a row is given up when it was refused alone, so that no innocent one ever is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from sinks.record import Record

#: Rows that are singled out of one batch before it is split instead.
SINGLED_OUT = 8

_ROW = re.compile(r"\bat row (\d+)")


class Candidates(NamedTuple):
    """Rows to be tried together, and how many of them may still be singled out."""

    records: Sequence[Record]
    left: int = SINGLED_OUT


def split(suspects: Candidates, words: str) -> list[Candidates]:
    """What to try after ClickHouse refused these (two or more) in such words."""
    records, left = suspects
    named = _ROW.search(words)
    row = int(named[1]) if named else 0
    if left and 0 < row <= len(records):
        others = [*records[: row - 1], *records[row:]]
        return [Candidates(others, left - 1), Candidates(records[row - 1 : row])]
    half = len(records) // 2
    return [Candidates(records[:half]), Candidates(records[half:])]
