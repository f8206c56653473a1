"""A client for short queries that must be answered at once or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from clickhouse_connect import get_async_client
from pydantic import SecretStr

from runtime.clickhouse.client import connection
from runtime.clickhouse.errors import ClickHouseUnavailable, InvalidRows, SchemaMismatch, translate_errors

#: Seconds until connecting has failed, and is tried again by the next query.
CONNECT_TIMEOUT = 5.0


class LookupClient:
    """Runs read-only queries, a limited number at a time. Connects at the first; the caller closes it."""

    def __init__(
        self, setting: SecretStr, timeout: float, max_concurrent: int, settings: Mapping[str, str]
    ) -> None:
        """
        Args:
            timeout: seconds that a query may take, with waiting for its turn and for the connection.
            settings: ClickHouse's settings for each query.
        """
        self._setting = setting
        self._max_concurrent = max_concurrent
        self._timeout = timeout
        self._turns = asyncio.Semaphore(max_concurrent)
        self._settings = {
            "readonly": "1",
            "max_execution_time": f"{timeout:g}",
            "log_queries": "0",
            **settings,
        }
        self._client: asyncio.Task[Any] | None = None

    async def query(self, sql: str, format: str, parameters: Mapping[str, str]) -> bytes:
        """Run a query, and return its whole result.

        Args:
            parameters: values of the query's `{name:Type}`.

        Raises:
            ClickHouseUnavailable: no answer in time, or an error instead of one; the text is redacted.
        """
        try:
            async with asyncio.timeout(self._timeout), self._turns:
                with translate_errors(self._address):
                    client = await self.connect()
                    result: bytes = await client.raw_query(
                        sql, parameters=dict(parameters), settings=self._settings, fmt=format
                    )
                    return result
        except TimeoutError:
            raise ClickHouseUnavailable(
                f"ClickHouse at {self._address} did not answer within {self._timeout:g} s"
            ) from None
        except (InvalidRows, SchemaMismatch) as error:
            raise ClickHouseUnavailable(str(error)) from error

    async def connect(self) -> Any:
        """Return the driver's client; a timeout of this call does not end connecting.

        Raises:
            Exception: of the driver.
        """
        if self._client is None or (self._client.done() and self._failed(self._client)):
            options = {
                "connect_timeout": CONNECT_TIMEOUT,
                "send_receive_timeout": CONNECT_TIMEOUT,
                "query_retries": 0,
                "form_encode_query_params": True,  # ClickHouse logs URLs, and what is looked up is personal
                "connector_limit": self._max_concurrent,
            }
            self._client = asyncio.create_task(get_async_client(**(connection(self._setting) | options)))
            self._client.add_done_callback(self._failed)  # no query may be waiting for it any more
        return await asyncio.shield(self._client)

    async def close(self) -> None:
        """Disconnect, or stop connecting."""
        if self._client is None:
            return
        if not self._client.done():
            self._client.cancel()
            await asyncio.wait([self._client])
        elif not self._failed(self._client):
            await self._client.result().close()

    @property
    def _address(self) -> str:
        arguments = connection(self._setting)
        return f"{arguments['host']}:{arguments['port']}"

    @staticmethod
    def _failed(task: asyncio.Task[Any]) -> bool:
        return task.cancelled() or task.exception() is not None
