"""What one number said about being written to, from ClickHouse.

The view `contact_verdicts` takes four times as much of ClickHouse's CPU time, nearly all of it to analyse the
query. This one only merges the states of one number; `runtime/verdict.py` derives the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import DecodeError, Struct, json

from runtime.clickhouse.errors import ClickHouseUnavailable
from runtime.clickhouse.lookup_client import LookupClient
from runtime.decoding import total
from runtime.verdict import DatedSignal

#: As in the view, `untimed` marks count only if there may be more opt-outs without a time than a state has.
SQL = """
SELECT
    mapFilter((key, mark) -> length(firsts) >= 100 OR NOT startsWith(key, 'untimed '), maxMap(marks)),
    minMap(untimed_first) AS firsts,
    maxMap(untimed_signals)
FROM contact_states
WHERE account = {account:String} AND number = {number:String}
"""
FORMAT = "JSONCompactEachRow"
SETTINGS = {
    "date_time_output_format": "iso",
    "output_format_json_named_tuples_as_objects": "0",
    "max_threads": "1",
    # Whatever the user's profile says: in a partial or cached result, a missing opt-out would read as ok.
    "timeout_overflow_mode": "throw",
    "read_overflow_mode": "throw",
    "use_query_cache": "0",
}


class _First(NamedTuple):
    """The earliest version of an opt-out without a time of the provider."""

    received_at: str
    own_number: str
    words: str


class _Row(Struct, array_like=True):
    """The merged states of a number; empty if it has none."""

    marks: dict[str, DatedSignal]
    #: By signal, a blank and event_id; in states of earlier versions by event_id.
    untimed_first: dict[str, _First]
    untimed_signals: dict[str, str]


_decode = total(json.Decoder(_Row).decode)


async def find_signals(client: LookupClient, account: str, number: str) -> list[DatedSignal]:
    """What a canonical number said, for `judge`: the verdict is that of `streams/verdict.py` for its state.

    Raises:
        ClickHouseUnavailable: see `LookupClient.query`; or the table is not that of this code.
    """
    value = await client.query(SQL, FORMAT, {"account": account, "number": number})
    try:
        return list(_signals(_decode(value)))
    except DecodeError as error:
        raise ClickHouseUnavailable(f"ClickHouse's answer is not as expected: {error}") from None


def _signals(row: _Row) -> Iterator[DatedSignal]:
    """The marks, and the opt-outs without a time at their first receipt."""
    yield from row.marks.values()
    for key, first in row.untimed_first.items():
        event_id = key.rpartition(" ")[2]
        yield DatedSignal(
            first.received_at, event_id, first.words, first.own_number, row.untimed_signals[key]
        )
