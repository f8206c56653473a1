"""Stores batches: waits while ClickHouse is away, and puts what it refuses where people find it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from runtime.clickhouse.client import Inserter, InvalidRows, SchemaMismatch
from runtime.clickhouse.redaction import redact
from runtime.metrics import SINK_INSERT_SECONDS, SINK_REFUSED, SINK_ROWS
from runtime.retry import Retrier
from sinks.cluster import ClusterGuard
from sinks.isolate import Candidates, split
from sinks.record import Record
from sinks.rejection import rejection
from sinks.rows import splice
from sinks.tables import REJECTIONS, TABLES, Table

#: The constraint of `message_states` (its SQL says which versions are known).
NEWER_STATE = "Constraint `known_version`"

log = structlog.get_logger(__name__)


class ClickHouseWriter:
    """Several batches may be stored at a time."""

    def __init__(self, inserter: Inserter, cluster: ClusterGuard, patience: Retrier) -> None:
        self._inserter = inserter
        self._cluster = cluster
        self._patience = patience
        for table in TABLES:  # from 0 on, so that the very first one counts as an increase
            SINK_REFUSED.labels(table.name)

    @property
    def tries(self) -> int:
        """Grows whenever an insert was tried, in vain or not."""
        return self._patience.tries

    @property
    def waits(self) -> bool:
        """Whether ClickHouse or Kafka is waited for, so that nothing can be stored soon."""
        return self._patience.waits_for("clickhouse") or self._patience.waits_for("kafka")

    async def store(self, table: Table, records: Sequence[Record]) -> None:
        """Return when each of them is in the table, or in `rejected` with ClickHouse's words.

        Raises:
            ClusterChanged: they may be of another cluster than the rows would say.
            SchemaMismatch: the tables, or the states, are not of this code's version.
        """
        if table.tombstones:
            records = [record for record in records if record.value is not None]
        if not records:
            return
        await self._patience.until_done("kafka", self._cluster.confirm)
        refused: list[bytes] = []
        trying = [Candidates(records)]
        while trying:
            suspects = trying.pop()
            try:
                await self._insert(table, splice(table.tail, self._cluster.id, suspects.records))
                SINK_ROWS.labels(table.name).inc(len(suspects.records))
            except InvalidRows as error:
                if NEWER_STATE in str(error):
                    what = redact(str(error))
                    raise SchemaMismatch(
                        f"A state of a message is newer than this code: upgrade it ({what})"
                    ) from error
                if len(suspects.records) > 1:
                    trying += split(suspects, str(error))
                else:
                    refused.append(rejection(self._cluster.id, suspects.records[0], str(error)))
        if refused:
            await self._keep(table, refused)

    async def _keep(self, table: Table, refused: list[bytes]) -> None:
        try:
            await self._insert(REJECTIONS, b"".join(refused))
        except InvalidRows as error:
            raise SchemaMismatch(
                f"The table `{REJECTIONS.name}` does not take what it is for: {redact(str(error))}"
            ) from error
        SINK_REFUSED.labels(table.name).inc(len(refused))
        log.warning("ClickHouse refused rows; they are in `rejected`", table=table.name, rows=len(refused))

    async def _insert(self, table: Table, rows: bytes) -> None:
        started = time.perf_counter()
        await self._patience.until_done(
            "clickhouse", lambda: self._inserter.insert(table.name, table.fields, rows)
        )
        SINK_INSERT_SECONDS.labels(table.name).observe(time.perf_counter() - started)
