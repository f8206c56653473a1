"""Reads the requests to replay from ClickHouse, in slices of time and in the order in which they came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from operations.replay.rejection import StoredRejection
from operations.replay.stored_request import StoredRequest
from operations.rows import Query, read_rows, time
from operations.time_slices import Period, Slice
from runtime.clickhouse.sql import quote

SourceTable: TypeAlias = Literal["rejected", "postbacks"]

#: What is read of each row.
_ROW: dict[SourceTable, type[StoredRequest]] = {"rejected": StoredRejection, "postbacks": StoredRequest}
#: How to read each request once, without unmerged rejections, redelivered records and records of earlier
#: replays. A postback that the provider repeated has another time, so it is read each time.
_FROM: dict[SourceTable, str] = {"rejected": "rejected FINAL", "postbacks": "postbacks"}
_WHERE: dict[SourceTable, str] = {"rejected": "stage = 'gateway'", "postbacks": "1"}
_ORDER: dict[SourceTable, str] = {
    "rejected": "ORDER BY received_at, rejection_id",
    "postbacks": "ORDER BY received_at, event_id LIMIT 1 BY received_at, event_id",
}


@dataclass(frozen=True)
class Source:
    """Requests received in `[since, until)`; an empty reason or account matches any."""

    table: SourceTable
    since: datetime
    until: datetime
    reason: str = ""
    account: str = ""

    def count_by_minute(self, query: Query) -> list[Period]:
        """Rows of each minute, an upper bound: those that `read` leaves out are counted, too.

        Raises:
            QueryFailed: with ClickHouse's error message.
        """
        return read_rows(
            query,
            Period,
            "SELECT toStartOfMinute(received_at)::DateTime64(3, 'UTC') AS start, count() AS rows "
            f"FROM {_FROM[self.table]} WHERE {self._where(self.since, self.until)} "
            "GROUP BY start ORDER BY start",
        )

    def read(self, query: Query, slice: Slice) -> list[StoredRequest]:
        """The requests of a slice, in order.

        Raises:
            QueryFailed: with ClickHouse's error message.
        """
        start, stop = max(slice.start, self.since), min(slice.stop, self.until)
        row = _ROW[self.table]
        return read_rows(
            query,
            row,
            f"SELECT {', '.join(row.__struct_fields__)} FROM {_FROM[self.table]} "
            f"WHERE {self._where(start, stop)} {_ORDER[self.table]}",
        )

    def _where(self, start: datetime, stop: datetime) -> str:
        conditions = [
            f"received_at >= {time(start)}",
            f"received_at < {time(stop)}",
            _WHERE[self.table],
            *([f"reason = {quote(self.reason)}"] if self.reason else []),
            *([f"account = {quote(self.account)}"] if self.account else []),
        ]
        return " AND ".join(conditions)
