"""Counts the messages of the last day that should not have been sent, by account, for alerts.

One sink of all does it: the owner of a certain partition. A failed query is logged and repeated at the next
interval; the inserts have clients of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import SecretStr

from runtime.clickhouse.client import open_async_client
from runtime.metrics import TEXTED_AFTER_STOP, TEXTED_IN_QUIET_HOURS

INTERVAL, PERIOD = timedelta(minutes=5), timedelta(days=1)
#: Seconds until a change of the owner is noticed.
POLL_INTERVAL = 1.0
#: Seconds that a query may take, on one thread: about one for each million messages of the day.
QUERY_TIMEOUT = 120

COUNTS = {
    TEXTED_AFTER_STOP: """
        SELECT account, count() FROM texted_after_stop_between(
            scope = {scope:String}, yes = {yes:UInt8},
            since = {since:DateTime('UTC')}, until = {until:DateTime('UTC')})
        GROUP BY account""",
    TEXTED_IN_QUIET_HOURS: """
        SELECT account, count() FROM texted_in_quiet_hours_between(
            since = {since:DateTime('UTC')}, until = {until:DateTime('UTC')})
        GROUP BY account""",
}

log = structlog.get_logger(__name__)


class TextedMonitor:
    """Sets the gauges of texts after an opt-out and in quiet hours."""

    def __init__(
        self, setting: SecretStr, scope: str, yes_opts_in: bool, is_owner: Callable[[], bool]
    ) -> None:
        """
        Args:
            setting: POSTBACKS_CLICKHOUSE.
            scope: POSTBACKS_OPT_OUT_SCOPE.
            yes_opts_in: POSTBACKS_YES_OPTS_IN.
            is_owner: whether this sink counts; others export no values.
        """
        self._setting = setting
        self._policy = {"scope": scope, "yes": int(yes_opts_in)}
        self._is_owner = is_owner
        #: Those that have had messages; once they have none, they get 0.
        self._accounts: set[str] = set()
        self._polled: datetime | None = None

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            await self.poll(datetime.now(UTC))
            await asyncio.sleep(POLL_INTERVAL)

    async def poll(self, now: datetime) -> None:
        """Count the messages sent within PERIOD before `now`, if that is due and this sink's task."""
        if not self._is_owner():
            self._clear()
        elif self._polled is None or abs(now - self._polled) >= INTERVAL:
            self._polled = now
            await self._refresh(now)

    async def _refresh(self, now: datetime) -> None:
        """If it fails, the gauges keep their values."""
        times = {"since": f"{now - PERIOD:%F %T}", "until": f"{now:%F %T}"}
        limits = {"max_threads": 1, "max_execution_time": QUERY_TIMEOUT}
        try:
            async with open_async_client(self._setting, send_receive_timeout=QUERY_TIMEOUT) as client:
                counts = {
                    gauge: dict((await client.query(query, self._policy | times, limits)).result_rows)
                    for gauge, query in COUNTS.items()
                }
        except Exception as error:  # whatever fails here, inserts continue
            log.warning("Texts after opt-outs and in quiet hours not counted", reason=str(error))
            return
        self._accounts.update(*counts.values())
        for gauge, by_account in counts.items():
            for account in self._accounts:
                gauge.labels(account).set(by_account.get(account, 0))

    def _clear(self) -> None:
        self._polled = None
        self._accounts.clear()
        for gauge in COUNTS:
            gauge.clear()
