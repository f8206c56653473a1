"""ClickHouse's errors: codes, translation of what the driver raises, and redaction of row data.

ClickHouseFailed
├── QueryFailed             a query failed; the text is for the person who ran it
├── ClickHouseUnavailable   a statement or an insert failed, and may succeed later unchanged
└── InvalidRows             an insert failed because of its rows

StartupError (ends the process)
└── SchemaMismatch          the tables are not the ones that this code writes to
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import urllib3
from clickhouse_connect import common
from clickhouse_connect.driver.exceptions import ClickHouseError, ProgrammingError

from runtime.errors import StartupError

#: ClickHouse's error codes, named as `errorCodeToName` does.
UNKNOWN_TABLE, UNKNOWN_DATABASE, NO_SUCH_COLUMN = 60, 81, 16
READONLY, ACCESS_DENIED, AUTHENTICATION_FAILED = 164, 497, 516
_SCHEMA = {UNKNOWN_TABLE, UNKNOWN_DATABASE, NO_SUCH_COLUMN}
_INVALID_ROW = {
    6,  # CANNOT_PARSE_TEXT
    25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
    26,  # CANNOT_PARSE_QUOTED_STRING
    27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
    32,  # ATTEMPT_TO_READ_AFTER_EOF
    33,  # CANNOT_READ_ALL_DATA
    38,  # CANNOT_PARSE_DATE
    41,  # CANNOT_PARSE_DATETIME
    53,  # TYPE_MISMATCH
    69,  # ARGUMENT_OUT_OF_BOUND
    70,  # CANNOT_CONVERT_TYPE
    72,  # CANNOT_PARSE_NUMBER
    117,  # INCORRECT_DATA
    128,  # TOO_LARGE_ARRAY_SIZE
    130,  # CANNOT_READ_ARRAY_FROM_TEXT
    131,  # TOO_LARGE_STRING_SIZE
    190,  # SIZES_OF_ARRAYS_DONT_MATCH
    306,  # TOO_DEEP_RECURSION
    321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376,  # CANNOT_PARSE_UUID
    395,  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
    407,  # DECIMAL_OVERFLOW
    441,  # CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING
    467,  # CANNOT_PARSE_BOOL
    469,  # VIOLATED_CONSTRAINT
    675,  # CANNOT_PARSE_IPV4
    676,  # CANNOT_PARSE_IPV6
    691,  # UNKNOWN_ELEMENT_OF_ENUM
}

#: Characters of ClickHouse's text in `InvalidRows` (it is stored with the row), and in a redacted one.
MAX_REASON, MAX_REDACTED = 1024, 300

common.set_setting("max_error_size", 0)  # the driver truncates at 1,024, a query's error too

_DRIVER_ERRORS = (ClickHouseError, aiohttp.ClientError, urllib3.exceptions.HTTPError, OSError)
#: What the driver puts around ClickHouse's text.
_WRAPPING = re.compile(r"^.*?server response: |\s*\(for url .*\)$", re.DOTALL)
#: Where ClickHouse begins to quote a row.
_QUOTE = re.compile(
    r"\s*(?:\bbefore: |\bnear |\bparsed text|\bColumn values|\bwhile (?:pars|read|convert)ing|:\s*[\"{'])"
)
_ERROR_NAME = re.compile(r"\(([A-Z][A-Z0-9_]{3,})\)")


class ClickHouseFailed(Exception):
    """A request to ClickHouse failed. `code` is its error code, or 0 if it did not answer."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class QueryFailed(ClickHouseFailed):
    """A query failed; the text is ClickHouse's own, or says that it does not answer and what to do."""


class ClickHouseUnavailable(ClickHouseFailed):
    """ClickHouse does not answer or does not accept writes now: retry. The text is redacted."""


class InvalidRows(ClickHouseFailed):
    """A row is invalid, so that a retry is useless. The text is ClickHouse's own, and may name the row."""


class SchemaMismatch(StartupError):
    """The database's tables are not the ones of this code."""


@contextmanager
def translate_errors(address: str) -> Iterator[None]:
    """Translate errors of statements and inserts sent to `host:port`.

    Raises:
        ClickHouseUnavailable, InvalidRows, SchemaMismatch: see there.
    """
    try:
        yield
    except _DRIVER_ERRORS as error:
        code, text = _code(error), _text(error)
        if not code:
            raise ClickHouseUnavailable(f"ClickHouse at {address} does not answer: {redact(text)}") from error
        if code in _SCHEMA:
            raise SchemaMismatch(f"ClickHouse's tables are not those of this code: {redact(text)}") from error
        if code in _INVALID_ROW:
            raise InvalidRows(text[:MAX_REASON], code) from error
        raise ClickHouseUnavailable(redact(text), code) from error


@contextmanager
def translate_query_errors(address: str) -> Iterator[None]:
    """Translate errors of queries sent to `host:port`.

    Raises:
        QueryFailed: with ClickHouse's own text, unredacted: it goes to the person who ran the query.
    """
    try:
        yield
    except _DRIVER_ERRORS as error:
        code, text = _code(error), _text(error)
        if not code and not isinstance(error, ProgrammingError):
            text = (
                f"ClickHouse at {address} does not answer ({text}). Does `postbacks up` run? "
                "POSTBACKS_CLICKHOUSE says where it is"
            )
        raise QueryFailed(text, code) from None


def redact(text: str) -> str:
    """Cut a text where ClickHouse begins to quote a row, or at MAX_REDACTED; the error's name stays."""
    quote = _QUOTE.search(text)
    if not quote and len(text) <= MAX_REDACTED:
        return text
    kept = text[: min(quote.start() if quote else MAX_REDACTED, MAX_REDACTED)]
    name = _ERROR_NAME.search(text, len(kept))
    return f"{kept}… {name[0]}" if name else f"{kept}…"


def _code(error: BaseException) -> int:
    return int(getattr(error, "code", None) or 0)


def _text(error: BaseException) -> str:
    """ClickHouse's own text, or the cause of a failed request without the driver's sentences around it."""
    while error.__cause__:
        error = error.__cause__
    return _WRAPPING.sub("", str(error)).strip() or type(error).__name__
