"""Writes batches to ClickHouse: retries during outages, isolates and dead-letters invalid rows."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import structlog

from runtime.clickhouse.client import Inserter
from runtime.clickhouse.errors import InvalidRows, SchemaMismatch, redact
from runtime.metrics import SINK_INSERT_SECONDS, SINK_REFUSED, SINK_ROWS
from runtime.retry import Retrier
from sinks.batch import Record
from sinks.cluster import ClusterGuard
from sinks.isolate import Candidates, split
from sinks.rows import rejection_row, splice
from sinks.tables import REJECTIONS, TABLES, Table

#: The constraint of both tables of states on their version, as it stands in ClickHouse's error.
VERSION_CONSTRAINT = "Constraint `known_version`"

log = structlog.get_logger(__name__)


class ClickHouseWriter:
    """Several batches may be written at a time."""

    def __init__(self, inserter: Inserter, cluster: ClusterGuard, retrier: Retrier) -> None:
        #: Requests to ClickHouse and Kafka so far, failed ones included; grows during an outage, too.
        self.attempts = 0
        self._inserter = inserter
        self._cluster = cluster
        self._retrier = retrier
        for table in TABLES:  # export them at 0, so that the first refused row counts as an increase
            SINK_REFUSED.labels(table.name)

    @property
    def unavailable(self) -> bool:
        """Whether an insert would wait for ClickHouse or Kafka."""
        return self._retrier.is_waiting("clickhouse") or self._retrier.is_waiting("kafka")

    async def write(self, table: Table, records: Sequence[Record]) -> None:
        """Return once each record is in the table, or in `rejected` with ClickHouse's error.

        Raises:
            ClusterChanged: Kafka is another cluster than the one whose id the rows would have.
            SchemaMismatch: the tables or the states have another version than this code.
        """
        if table.tombstones:
            records = [record for record in records if record.value is not None]
        if not records:
            return
        await self._call("kafka", self._cluster.verify)
        dead_letters: list[bytes] = []
        pending = [Candidates(records)]
        while pending:
            candidates = pending.pop()
            try:
                await self._insert(table, splice(table.suffix, self._cluster.id, candidates.records))
                SINK_ROWS.labels(table.name).inc(len(candidates.records))
            except InvalidRows as error:
                if VERSION_CONSTRAINT in str(error):
                    raise SchemaMismatch(
                        f"A state in {table.name} is newer than this code: upgrade it ({redact(str(error))})"
                    ) from error
                if len(candidates.records) > 1:
                    pending += split(candidates, str(error))
                else:
                    (record,) = candidates.records
                    dead_letters.append(
                        rejection_row(self._cluster.id, record, str(error), datetime.now(UTC))
                    )
        if dead_letters:
            await self._dead_letter(table, dead_letters)

    async def _dead_letter(self, table: Table, rows: list[bytes]) -> None:
        try:
            await self._insert(REJECTIONS, b"".join(rows))
        except InvalidRows as error:
            raise SchemaMismatch(
                f"The table `{REJECTIONS.name}` refuses a rejected row: {redact(str(error))}"
            ) from error
        SINK_REFUSED.labels(table.name).inc(len(rows))
        log.warning("ClickHouse refused rows; they are in `rejected`", table=table.name, rows=len(rows))

    async def _insert(self, table: Table, rows: bytes) -> None:
        started = time.perf_counter()
        await self._call("clickhouse", lambda: self._inserter.insert(table.name, table.fields, rows))
        SINK_INSERT_SECONDS.labels(table.name).observe(time.perf_counter() - started)

    async def _call(self, part: str, request: Callable[[], Awaitable[None]]) -> None:
        async def attempt() -> None:
            self.attempts += 1
            await request()

        await self._retrier.call(part, attempt)
