"""Where replays come from: which rows of which table, and in slices of time, in the order they came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from operations.replay.stored_request import StoredRequest
from operations.rows import Query, read_rows, text, time
from operations.time_slices import Period, Slice

Table: TypeAlias = Literal["rejected", "postbacks"]

#: How each table is read so that what came once is there once: rejections not merged yet, records of repeated
#: delivery and of earlier replays are left out. A repeat by the provider came at another time.
_FROM: dict[Table, str] = {"rejected": "rejected FINAL", "postbacks": "postbacks"}
_WHERE: dict[Table, str] = {"rejected": "stage = 'gateway'", "postbacks": "1"}
_ONCE: dict[Table, str] = {
    "rejected": "ORDER BY received_at, rejection_id",
    "postbacks": "ORDER BY received_at, event_id LIMIT 1 BY received_at, event_id",
}


@dataclass(frozen=True)
class Source:
    """Rows received in `[since, until)`; an empty reason or account is any."""

    table: Table
    since: datetime
    until: datetime
    reason: str = ""
    account: str = ""

    def minutes(self, ask: Query) -> list[Period]:
        """When they came, roughly: rows that will be left out are counted, too."""
        return read_rows(
            ask,
            Period,
            "SELECT toStartOfMinute(received_at)::DateTime64(3, 'UTC') AS start, count() AS rows "
            f"FROM {_FROM[self.table]} WHERE {self._where(self.since, self.until)} "
            "GROUP BY start ORDER BY start",
        )

    def rows(self, ask: Query, portion: Slice) -> list[StoredRequest]:
        """Those of a slice, in the order they came."""
        start, stop = max(portion.start, self.since), min(portion.stop, self.until)
        return read_rows(
            ask,
            StoredRequest,
            f"SELECT {', '.join(StoredRequest.__struct_fields__)} FROM {_FROM[self.table]} "
            f"WHERE {self._where(start, stop)} {_ONCE[self.table]}",
        )

    def _where(self, start: datetime, stop: datetime) -> str:
        conditions = [
            f"received_at >= {time(start)}",
            f"received_at < {time(stop)}",
            _WHERE[self.table],
            *([f"reason = {text(self.reason)}"] if self.reason else []),
            *([f"account = {text(self.account)}"] if self.account else []),
        ]
        return " AND ".join(conditions)
