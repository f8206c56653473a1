"""What must be known of a statement before the engine sees it; pure text.

The engine's own parser says what kind a statement is (engine.py). Here is only what it does not say: where
the data of an INSERT begins, whether files of this machine are named, and the format of the result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_GAP = rb"(?:\s|--[^\n]*\n|/\*.*?\*/)"
_QUOTED = rb"`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\""
_NAME = rb"(?:" + _QUOTED + rb"|\w+)"
_VALUE = rb"(?:'(?:[^'\\]|\\.)*'|[-+.\w]+)"
_SETTING = _NAME + rb"\s*=\s*" + _VALUE
#: Possessive, and no alternative twice: what is no such INSERT, however long, is known as that at once.
_INSERT = re.compile(
    rb"(?P<into>" + _GAP + rb"*+INSERT" + _GAP + rb"++INTO" + _GAP + rb"++(?:TABLE" + _GAP + rb"++)?"
    + _NAME + rb"(?:\s*\.\s*" + _NAME + rb")?"
    + _GAP + rb"*+(?:\((?:[^()`\"]|" + _QUOTED + rb"|\([^()]*\))*\))?)"
    + _GAP + rb"*+(?P<settings>SETTINGS" + _GAP + rb"++" + _SETTING + rb"(?:\s*,\s*" + _SETTING + rb")*)?"
    + _GAP + rb"*+\bFORMAT" + _GAP + rb"++(?P<format>\w+)[ \t\f]*;?[ \t]*\r?\n?",
    re.IGNORECASE | re.DOTALL,
)  # fmt: skip
_NOT_CODE = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`|--[^\n]*|#[ !][^\n]*|/\*.*?\*/", re.DOTALL
)
_FILES = re.compile(r"\b(INTO\s+OUTFILE|FROM\s+INFILE)\b", re.IGNORECASE)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b[^;]*)?;?\s*$", re.IGNORECASE)

_SELECT = re.compile(r"[\s(]*(SELECT|WITH|FROM)\b", re.IGNORECASE)

#: Formats without head and foot: pieces of a result, each formatted by itself, are the result.
_CONCATENATES = {"native", "rowbinary", "jsoneachrow", "tabseparated", "tsv", "csv"}


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
    """The INSERT with data in a format that the bytes begin with; None for every other statement."""
    found = _INSERT.match(statement)
    if not found:
        return None
    try:
        into, settings = found["into"].decode(), (found["settings"] or b"").decode()
    except UnicodeDecodeError:
        return None
    return Insert(into, settings, found["format"].decode(), found.end())


def named_files(statement: str) -> str:
    """`INTO OUTFILE` or `FROM INFILE` when the statement has it, outside of text and comments; else empty."""
    found = _FILES.search(_code(statement))
    return " ".join(found[1].upper().split()) if found else ""


def result_format(statement: str, default: str) -> str:
    """The format in which the result is asked for."""
    found = _FORMAT.search(_code(statement))
    return found[1] if found else default


def without_format(statement: str) -> str:
    """The same statement, leaving the format of its result to the default."""
    found = _FORMAT.search(_code(statement))
    return statement[: found.start()] if found else statement


def can_stream(statement: str, format: str) -> bool:
    """Whether its result can be had in pieces that add up to the whole."""
    return bool(_SELECT.match(_code(statement))) and format.lower() in _CONCATENATES


def _code(statement: str) -> str:
    """The statement with blanks in place of its texts, quoted names and comments."""
    return _NOT_CODE.sub(lambda found: " " * len(found[0]), statement)


def quoted(text: str) -> str:
    """As a literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
