"""Rows of ClickHouse as structs, and Python's values as SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TypeAlias, TypeVar

from msgspec import Struct, json

from gateway.postback import format_time
from runtime.clickhouse.query import run_query

Row = TypeVar("Row", bound=Struct)
#: A query's result in pieces, in a format (`cli.clickhouse.ask` with its address). Raises QueryFailed.
Query: TypeAlias = Callable[[str, str], Iterator[bytes]]

#: Numbers as numbers, times in the contract's form; and a question may name thousands of things.
OPTIONS = {
    "output_format_json_quote_64bit_integers": "0",
    "date_time_output_format": "iso",
    "max_query_size": str(2**26),
}


def connect(url: str) -> Query:
    """Questions to the ClickHouse at that address."""
    return partial(run_query, url, options=OPTIONS)


def read_rows(ask: Query, row: type[Row], query: str) -> list[Row]:
    """The result, a struct for each row: columns by its fields' names.

    Raises:
        QueryFailed: with ClickHouse's own words.
    """
    decode = json.Decoder(row).decode
    return [decode(line) for line in b"".join(ask(query, "JSONEachRow")).splitlines()]


def read_lines(ask: Query, query: str) -> Iterator[bytes]:
    """A result of one column of text without line breaks, however long.

    Raises:
        QueryFailed: with ClickHouse's own words.
    """
    rest = b""
    for piece in ask(query, "TSVRaw"):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines


def text(value: str) -> str:
    """As a literal of SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def array(literals: Iterable[object]) -> str:
    """An array of literals."""
    return f"[{','.join(map(str, literals))}]"


def time(at: datetime) -> str:
    """A time to the millisecond, in the form of the tables."""
    return f"toDateTime64('{format_time(at)[:-1].replace('T', ' ')}', 3, 'UTC')"
