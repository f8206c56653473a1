"""Finds what has to be known about a statement before the engine parses it. Pure.

The engine's own parser tells the kind of a statement (engine.py). This adds what it does not tell: where the
data of an INSERT begins, whether the statement names files of this machine, and the format of the result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_GAP = rb"(?:\s|--[^\n]*\n|/\*.*?\*/)"
_QUOTED = rb"`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\""
_NAME = rb"(?:" + _QUOTED + rb"|\w+)"
_VALUE = rb"(?:'(?:[^'\\]|\\.)*'|[-+.\w]+)"
_SETTING = _NAME + rb"\s*=\s*" + _VALUE
#: Possessive quantifiers and distinct alternatives: no backtracking, so that a long non-match fails fast.
_INSERT = re.compile(
    rb"(?P<into>" + _GAP + rb"*+INSERT" + _GAP + rb"++INTO" + _GAP + rb"++(?:TABLE" + _GAP + rb"++)?"
    + _NAME + rb"(?:\s*\.\s*" + _NAME + rb")?"
    + _GAP + rb"*+(?:\((?:[^()`\"]|" + _QUOTED + rb"|\([^()]*\))*\))?)"
    + _GAP + rb"*+(?P<settings>SETTINGS" + _GAP + rb"++" + _SETTING + rb"(?:\s*,\s*" + _SETTING + rb")*)?"
    + _GAP + rb"*+\bFORMAT" + _GAP + rb"++(?P<format>\w+)[ \t\f]*;?[ \t]*\r?\n?",
    re.IGNORECASE | re.DOTALL,
)  # fmt: skip
_LITERAL = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`|--[^\n]*|#[ !][^\n]*|/\*.*?\*/", re.DOTALL
)
_FILE_CLAUSE = re.compile(r"\b(INTO\s+OUTFILE|FROM\s+INFILE)\b", re.IGNORECASE)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b[^;]*)?;?\s*$", re.IGNORECASE)

_SELECT = re.compile(r"[\s(]*(SELECT|WITH|FROM)\b", re.IGNORECASE)

#: Formats without header and footer: chunks can be formatted separately and concatenated.
_STREAMABLE = {"native", "rowbinary", "jsoneachrow", "tabseparated", "tsv", "csv"}


@dataclass(frozen=True)
class Insert:
    """`INSERT INTO … [SETTINGS …] FORMAT …`, whose data follows at `data_at`."""

    into: str
    settings: str
    format: str
    data_at: int

    @property
    def statement(self) -> str:
        return f"{self.into} {self.settings} FORMAT {self.format}"


def find_insert(statement: bytes) -> Insert | None:
    """Parse the INSERT with inline data at the beginning of the bytes; None for any other statement."""
    match = _INSERT.match(statement)
    if not match:
        return None
    try:
        into, settings = match["into"].decode(), (match["settings"] or b"").decode()
    except UnicodeDecodeError:
        return None
    return Insert(into, settings, match["format"].decode(), match.end())


def file_clause(statement: str) -> str:
    """Return `INTO OUTFILE` or `FROM INFILE` if the statement has one, ignoring literals and comments."""
    match = _FILE_CLAUSE.search(_mask_literals(statement))
    return " ".join(match[1].upper().split()) if match else ""


def result_format(statement: str, default: str) -> str:
    """Return the format that the statement requests for its result."""
    match = _FORMAT.search(_mask_literals(statement))
    return match[1] if match else default


def strip_format(statement: str) -> str:
    """Remove the FORMAT clause, so that the default format applies."""
    match = _FORMAT.search(_mask_literals(statement))
    return statement[: match.start()] if match else statement


def can_stream(statement: str, format: str) -> bool:
    """Return whether the result can be formatted in chunks."""
    return bool(_SELECT.match(_mask_literals(statement))) and format.lower() in _STREAMABLE


def _mask_literals(statement: str) -> str:
    """Blank out string literals, quoted names and comments; lengths stay the same."""
    return _LITERAL.sub(lambda match: " " * len(match[0]), statement)
