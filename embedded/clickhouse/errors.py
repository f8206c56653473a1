"""ClickHouse's errors: text as a server writes it, and the HTTP status of each code."""

from __future__ import annotations

import re

_CODE = re.compile(r"^Code: (\d+)\. DB::Exception: ")
_NAME = re.compile(r" \(([A-Z_0-9]+)\)$")
# Inserts read from a file here (see engine.py): an implementation detail that clients must not see.
_FILE_DETAILS = re.compile(
    r": \(in file/uri [^)]*\)|: While executing File: data for INSERT was parsed from file"
    r"|(?<=DB::Exception: )Code: \d+\. DB::Exception: | \([A-Z_]+\) \(version [^)]*\)(?=\. \()"
)

_STATUS = {
    **dict.fromkeys((6, 15, 25, 26, 27, 36, 38, 41, 42, 43, 44, 53, 62, 69, 72, 117, 376, 456, 457), 400),
    **dict.fromkeys((164, 192, 193, 497, 516), 403),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336, 372), 404),
    159: 408,
    373: 423,
    48: 501,
}


class ClickHouseError(Exception):
    """A statement failed or was rejected. `str()` is the text of a server's response, without its version."""

    def __init__(self, code: int, text: str, name: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text}. ({name})")
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse sends for this code."""
        return _STATUS.get(self.code, 500)


def translate(error: RuntimeError | UnicodeDecodeError) -> ClickHouseError:
    """Convert an engine error, whose code and name are only in its text.

    When the text quotes bytes that are not UTF-8, the binding raises a UnicodeDecodeError that contains it.
    """
    raw = str(error) if isinstance(error, RuntimeError) else error.object.decode(errors="backslashreplace")
    text = _FILE_DETAILS.sub("", raw.strip())
    code = _CODE.search(text)
    name = _NAME.search(text)
    begin, end = code.end() if code else 0, name.start() if name else len(text)
    return ClickHouseError(
        int(code[1]) if code else 1002,
        text[begin:end].removesuffix("."),
        name[1] if name else "UNKNOWN_EXCEPTION",
    )
