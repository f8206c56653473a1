"""ClickHouse's rows as structs, and Python values as SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TypeAlias, TypeVar

from msgspec import Struct, json
from pydantic import SecretStr

from gateway.postback import format_time
from runtime.clickhouse.client import Reader

Row = TypeVar("Row", bound=Struct)
#: Runs SQL and yields the result in chunks, in the given format. Raises QueryFailed.
Query: TypeAlias = Callable[[str, str], Iterator[bytes]]

#: Numbers as JSON numbers, U+FFFD for what is not UTF-8, times in the contract's form, and room for thousands
#: of literals in a query.
SETTINGS = {
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_validate_utf8": "1",
    "date_time_output_format": "iso",
    "max_query_size": str(2**26),
}


def connect(setting: SecretStr) -> Query:
    """Queries to the ClickHouse of POSTBACKS_CLICKHOUSE; connects at the first one."""
    return Reader(setting, SETTINGS).query


def read_rows(query: Query, row: type[Row], sql: str) -> list[Row]:
    """The result as structs, whose field names are the columns'.

    Raises:
        QueryFailed: with ClickHouse's own text.
    """
    decode = json.Decoder(row).decode
    return [decode(line) for line in b"".join(query(sql, "JSONEachRow")).splitlines()]


def read_lines(query: Query, sql: str) -> Iterator[bytes]:
    """Stream a result of one text column whose values have no line breaks.

    Raises:
        QueryFailed: with ClickHouse's own text.
    """
    rest = b""
    for chunk in query(sql, "TSVRaw"):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def array(literals: Iterable[object]) -> str:
    """An array literal of SQL."""
    return f"[{','.join(map(str, literals))}]"


def time(at: datetime) -> str:
    """A time literal of SQL, in milliseconds as in the tables."""
    return f"toDateTime64('{format_time(at)[:-1].replace('T', ' ')}', 3, 'UTC')"
