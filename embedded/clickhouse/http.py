"""ClickHouse's HTTP interface: runs a request on the engine and sends the result, or the error and its code.

An error after the first chunk of a result comes too late for a status: it is written into the body, in
ClickHouse's exception block, and the connection is closed before the body ends.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web

from embedded.clickhouse.engine import Chunk, Engine, EngineQuery
from embedded.clickhouse.errors import ClickHouseError
from embedded.clickhouse.request import read_query

THREADS = 16
#: Maximum length of the URL, which may contain a statement.
URL_BYTES = 1 << 20

_TYPES = {
    "json": "application/json",
    "jsoncompact": "application/json",
    "jsoneachrow": "application/x-ndjson",
    "tabseparated": "text/tab-separated-values",
    "tsv": "text/tab-separated-values",
    "csv": "text/csv",
    "pretty": "text/plain",
    "prettycompact": "text/plain",
    "null": "text/plain",
}

Result = TypeVar("Result")


def make_runner(engine: Engine, shutdown_timeout: float) -> web.AppRunner:
    """Create the runner; its cleanup waits up to `shutdown_timeout` seconds for active requests."""
    threads = ThreadPoolExecutor(THREADS, "engine")

    async def run_in_thread(function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(threads, function)

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {
            "X-ClickHouse-Query-Id": request.query.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": engine.timezone,
            "X-ClickHouse-Server-Display-Name": "chdb",
        }
        try:
            query = await read_query(request)
        except ClickHouseError as error:
            return _error_response(error, headers, engine.version)
        try:
            if not query.statement.strip():
                return web.Response(text="Ok.\n")
            return await respond(request, query, headers)
        except ConnectionResetError:  # the client has disconnected, as it does when it gives up
            return web.Response()
        finally:
            if query.data:
                query.data.close()

    async def respond(
        request: web.Request, query: EngineQuery, headers: dict[str, str]
    ) -> web.StreamResponse:
        headers |= {
            "X-ClickHouse-Format": query.format,
            "Content-Type": _TYPES.get(query.format.lower(), "application/octet-stream"),
        }
        chunks = engine.run(query)
        try:
            try:
                first = await run_in_thread(lambda: next(chunks))
            except ClickHouseError as error:
                return _error_response(error, headers, engine.version)
            if first.summary is not None:
                headers["X-ClickHouse-Summary"] = json.dumps(first.summary)
                return web.Response(body=first.body, headers=headers)
            return await stream(request, first, chunks, headers)
        finally:
            await asyncio.shield(run_in_thread(chunks.close))

    async def stream(
        request: web.Request, first: Chunk, chunks: Iterator[Chunk], headers: dict[str, str]
    ) -> web.StreamResponse:
        tag = uuid.uuid4().hex[:16]
        response = web.StreamResponse(headers=headers | {"X-ClickHouse-Exception-Tag": tag})
        await response.prepare(request)
        chunk: Chunk | None = first
        try:
            while chunk:
                await response.write(chunk.body)
                chunk = await run_in_thread(lambda: next(chunks, None))
        except ClickHouseError as error:
            await response.write(
                _exception_block(f"{error} (version {engine.version} (official build))", tag)
            )
            if request.transport:
                request.transport.close()
        return response

    async def ping(_: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def shutdown_threads(_: web.Application) -> None:
        threads.shutdown(wait=False)

    application = web.Application()
    application.router.add_get("/ping", ping)
    application.router.add_route("*", "/", handle)
    application.on_cleanup.append(shutdown_threads)
    return web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=shutdown_timeout,
        auto_decompress=False,  # aiohttp would drop all frames but the first
        max_line_size=URL_BYTES,
    )


def _error_response(error: ClickHouseError, headers: dict[str, str], version: str) -> web.Response:
    return web.Response(
        status=error.status,
        text=f"{error} (version {version} (official build))\n",
        headers={name: value for name, value in headers.items() if name != "Content-Type"}
        | {"X-ClickHouse-Exception-Code": str(error.code)},
    )


def _exception_block(text: str, tag: str) -> bytes:
    message = text.encode()
    return b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n" % (
        tag.encode(), message, len(message) + 1, tag.encode(),
    )  # fmt: skip
