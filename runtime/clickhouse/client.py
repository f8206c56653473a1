"""Clients of ClickHouse, on clickhouse-connect; they raise the errors of `runtime.clickhouse.errors`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Container, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from clickhouse_connect import get_async_client, get_client
from pydantic import SecretStr

from runtime.clickhouse.errors import translate_errors, translate_query_errors

DATABASE = "postbacks"
CONNECT_TIMEOUT = 5.0
#: Seconds until a query must send bytes: those of `postbacks reconcile` may take minutes for the first one.
QUERY_TIMEOUT = 86_400
CHUNK_BYTES = 1 << 16

INSERT_SETTINGS = {
    "async_insert": 0,  # on by default since 26.x: it mixes the inserts of several clients, and their errors
    "insert_deduplicate": 0,  # a retry of an insert that was stored in part would pass for a duplicate
    "wait_end_of_query": 1,
    "date_time_input_format": "best_effort",
    "input_format_skip_unknown_fields": 1,
    "throw_on_max_partitions_per_insert_block": 0,  # a replay spans any number of months
}
#: Settings that only newer servers know, and older ones refuse.
NEWER_INSERT_SETTINGS = {
    "deduplicate_insert": "disable",  # since 26.x `insert_deduplicate` has no effect of its own
}

for _name in ("clickhouse_connect", "urllib3"):  # they log each failed request, which is also raised
    logging.getLogger(_name).setLevel(logging.ERROR)


def insert_settings(known: Container[str]) -> dict[str, Any]:
    """The settings of an insert, for a server that knows the settings `known`."""
    newer = {name: value for name, value in NEWER_INSERT_SETTINGS.items() if name in known}
    return INSERT_SETTINGS | newer


def connection(setting: SecretStr) -> dict[str, Any]:
    """The keyword arguments of clickhouse-connect's clients for POSTBACKS_CLICKHOUSE.

    The URL's query parameters (`?ca_cert=…`) become arguments, too.
    """
    url = urlsplit(setting.get_secret_value())
    return {
        "host": url.hostname,
        "port": url.port or (8443 if url.scheme == "https" else 8123),
        "secure": url.scheme == "https",
        "username": unquote(url.username or "default"),
        "password": unquote(url.password or ""),
        "database": unquote(url.path.strip("/")) or DATABASE,
        "autogenerate_session_id": False,  # a session runs one query at a time
        "connect_timeout": CONNECT_TIMEOUT,
        **dict(parse_qsl(url.query)),
    }


@contextmanager
def open_client(setting: SecretStr, **arguments: Any) -> Iterator[Any]:
    """Open a client for statements; `arguments` override those of the setting.

    Raises:
        ClickHouseUnavailable, InvalidRows, SchemaMismatch: connecting failed, or a statement of the block.
    """
    arguments = connection(setting) | arguments
    with translate_errors(_address(arguments)), closing(get_client(**arguments)) as client:
        yield client


@asynccontextmanager
async def open_async_client(setting: SecretStr, **arguments: Any) -> AsyncIterator[Any]:
    """Open a client whose methods are coroutines; otherwise like `open_client`."""
    arguments = connection(setting) | arguments
    with translate_errors(_address(arguments)):
        async with await get_async_client(**arguments) as client:
            yield client


class Reader:
    """Runs read-only queries. Connects at the first one; thread-safe."""

    def __init__(self, setting: SecretStr, settings: Mapping[str, str] | None = None) -> None:
        """
        Args:
            settings: ClickHouse's settings for each query.
        """
        self._arguments = {"send_receive_timeout": QUERY_TIMEOUT} | connection(setting)
        self._settings = {"readonly": "1", "wait_end_of_query": "1", **(settings or {})}
        self._client: Any = None

    def query(self, sql: str, format: str, parameters: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Run a query and yield its result in chunks, the first one once the query has succeeded.

        Args:
            format: of the result, unless the query has a FORMAT clause.
            parameters: values of the query's `{name:Type}`.

        Raises:
            QueryFailed: with ClickHouse's own text, or because it does not answer.
        """
        with translate_query_errors(_address(self._arguments)):
            self._client = self._client or get_client(**self._arguments)
            response = self._client.raw_stream(
                sql.encode(errors="replace").decode(),
                parameters=dict(parameters or {}),
                settings=self._settings,
                transport_settings={"X-ClickHouse-Format": format},
            )
            with closing(response):
                yield from response.stream(CHUNK_BYTES)


class Inserter:
    """Inserts batches, several at a time. Connects at the first one; the caller closes it."""

    def __init__(self, setting: SecretStr, timeout: float) -> None:
        """
        Args:
            timeout: seconds that ClickHouse has to answer an insert.
        """
        self._arguments = connection(setting) | {"send_receive_timeout": timeout}
        self._client: Any = None
        self._connecting = asyncio.Lock()

    async def insert(self, table: str, columns: Sequence[str], rows: bytes) -> None:
        """Return once ClickHouse has stored all rows. After an error some of them may be stored.

        Args:
            columns: the fields to insert; empty: all that the table has columns for.
            rows: in the format JSONEachRow.

        Raises:
            ClickHouseUnavailable: retry.
            InvalidRows: a row is invalid.
            SchemaMismatch: the table or one of the columns does not exist.
        """
        with translate_errors(_address(self._arguments)):
            async with self._connecting:
                self._client = self._client or await get_async_client(**self._arguments)
            await self._client.raw_insert(
                table,
                column_names=columns or None,
                insert_block=rows,
                fmt="JSONEachRow",
                settings=insert_settings(self._client.server_settings),
            )

    async def close(self) -> None:
        if self._client:
            await self._client.close()


def _address(arguments: Mapping[str, Any]) -> str:
    return f"{arguments['host']}:{arguments['port']}"
