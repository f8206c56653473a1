"""The boundary to ClickHouse: clients from the setting, rows in, and its errors as ours.

ClickHouseFailed
├── Away          it cannot take rows now: unreachable, read-only, full, too busy, or anything unforeseen
└── RowsRefused   a row is at fault; the text, ClickHouse's own, may name it

Refused (ends the process)
└── SchemaMismatch   the tables are not those that this code writes to
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import aiohttp
import urllib3
from clickhouse_connect import get_async_client, get_client
from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import SecretStr

from runtime.clickhouse.redaction import redact
from runtime.errors import StartupError

DATABASE = "postbacks"
CONNECT_SECONDS = 5.0

#: Codes of ClickHouse, as `errorCodeToName` tells them.
UNKNOWN_TABLE, UNKNOWN_DATABASE, NO_SUCH_COLUMN = 60, 81, 16
READONLY, ACCESS_DENIED, AUTHENTICATION_FAILED = 164, 497, 516
_SCHEMA = {UNKNOWN_TABLE, UNKNOWN_DATABASE, NO_SUCH_COLUMN}
_ROW_AT_FAULT = {
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
_WRAPPING = re.compile(r"^.*?server response: |\s*\(for url .*\)$", re.DOTALL)

INSERT_SETTINGS = {
    "async_insert": 0,  # 1 by default since 26.x: it answers for others' rows, and merges their errors
    "wait_end_of_query": 1,
    "date_time_input_format": "best_effort",
    "input_format_skip_unknown_fields": 1,
    "throw_on_max_partitions_per_insert_block": 0,  # a replay of years is no error
}


class ClickHouseFailed(Exception):
    """Something was not done; the text is ClickHouse's own where it answered. `code` is its number, or 0."""

    def __init__(self, words: str, code: int = 0) -> None:
        super().__init__(words)
        self.code = code


class Unavailable(ClickHouseFailed):
    """It may work later, unchanged. The text quotes no row: it is logged."""


class InvalidRows(ClickHouseFailed):
    """It will never work with these rows."""


class SchemaMismatch(StartupError):
    """The database's tables are not those of this code."""


def connection(setting: SecretStr) -> dict[str, Any]:
    """The keyword arguments of clickhouse-connect's clients for `POSTBACKS_CLICKHOUSE`.

    Its query (`?ca_cert=…`) is handed on, too.
    """
    url = urlsplit(setting.get_secret_value())
    return {
        "host": url.hostname,
        "port": url.port or (8443 if url.scheme == "https" else 8123),
        "secure": url.scheme == "https",
        "username": unquote(url.username or "default"),
        "password": unquote(url.password or ""),
        "database": unquote(url.path.strip("/")) or DATABASE,
        "autogenerate_session_id": False,  # a session takes one query at a time
        "connect_timeout": CONNECT_SECONDS,
        **dict(parse_qsl(url.query)),
    }


@contextmanager
def query_client(setting: SecretStr, **others: Any) -> Iterator[Any]:
    """A client of clickhouse-connect while the block runs; `others` go over the setting's arguments.

    Raises:
        Away: it does not answer or does not let us in; also for what the block does with the client.
        RowsRefused, SchemaMismatch: likewise.
    """
    with translate_errors():
        client = get_client(**connection(setting) | others)
        try:
            yield client
        finally:
            client.close()


class Inserter:
    """Inserts batches, several at a time. Connects at the first one; `close` it at the end."""

    def __init__(self, setting: SecretStr, timeout: float) -> None:
        self._arguments = connection(setting) | {"send_receive_timeout": timeout}
        self._client: Any = None
        self._connecting = asyncio.Lock()

    async def insert(self, table: str, columns: Sequence[str], rows: bytes) -> None:
        """Return when ClickHouse has them all. After an error some may be there.

        Args:
            columns: the fields to insert; empty: all that are columns.
            rows: as JSONEachRow.

        Raises:
            Away: try again.
            RowsRefused: a row is at fault.
            SchemaMismatch: there is no such table, or not with these columns.
        """
        with translate_errors():
            async with self._connecting:
                self._client = self._client or await get_async_client(**self._arguments)
            await self._client.raw_insert(
                table,
                column_names=columns or None,
                insert_block=rows,
                fmt="JSONEachRow",
                settings=INSERT_SETTINGS,
            )

    async def close(self) -> None:
        if self._client:
            await self._client.close()


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate what clickhouse-connect raises."""
    try:
        yield
    except ClickHouseError as error:
        code = int(getattr(error, "code", None) or 0)
        words = _WRAPPING.sub("", str(error)).strip()
        if not code:
            raise Unavailable(f"ClickHouse does not answer: {redact(words)}") from error
        if code in _SCHEMA:
            what = redact(words)
            raise SchemaMismatch(f"ClickHouse's tables are not those of this code: {what}") from error
        if code in _ROW_AT_FAULT:
            raise InvalidRows(words, code) from error
        raise Unavailable(redact(words), code) from error
    except (aiohttp.ClientError, urllib3.exceptions.HTTPError, OSError, TimeoutError) as error:
        raise Unavailable(f"ClickHouse does not answer: {error or type(error).__name__}") from error
