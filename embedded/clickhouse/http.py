"""ClickHouse's HTTP interface: a request in, the engine's answer out, an error with its status and code.

An error that comes after the first piece of a result cannot have a status any more: it is written into the
body, marked as ClickHouse does, and the connection is closed before the body's end.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web

from embedded.clickhouse.engine import Engine, EngineQuery, Piece
from embedded.clickhouse.errors import ClickHouseError
from embedded.clickhouse.request import read_request

THREADS = 16
#: A statement may come in the URL.
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


def make_runner(engine: Engine, shutdown_seconds: float) -> web.AppRunner:
    """The interface, to be put on a socket. Its clean-up gives requests in hand that long to end."""
    threads = ThreadPoolExecutor(THREADS, "engine")

    async def in_thread(function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(threads, function)

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {
            "X-ClickHouse-Query-Id": request.query.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": engine.timezone,
            "X-ClickHouse-Server-Display-Name": "chdb",
        }
        try:
            asked = await read_request(request)
        except ClickHouseError as error:
            return _refusal(error, headers, engine.version)
        try:
            if not asked.statement.strip():
                return web.Response(text="Ok.\n")
            return await answer(request, asked, headers)
        finally:
            if asked.data:
                asked.data.close()

    async def answer(request: web.Request, asked: EngineQuery, headers: dict[str, str]) -> web.StreamResponse:
        headers |= {
            "X-ClickHouse-Format": asked.format,
            "Content-Type": _TYPES.get(asked.format.lower(), "application/octet-stream"),
        }
        pieces = engine.run(asked)
        try:
            try:
                first = await in_thread(lambda: next(pieces))
            except ClickHouseError as error:
                return _refusal(error, headers, engine.version)
            if first.summary is not None:
                headers["X-ClickHouse-Summary"] = json.dumps(first.summary)
                return web.Response(body=first.body, headers=headers)
            return await stream(request, first, pieces, headers)
        finally:
            await asyncio.shield(in_thread(lambda: _close(pieces)))

    async def stream(
        request: web.Request, first: Piece, pieces: Iterator[Piece], headers: dict[str, str]
    ) -> web.StreamResponse:
        tag = uuid.uuid4().hex[:16]
        response = web.StreamResponse(headers=headers | {"X-ClickHouse-Exception-Tag": tag})
        await response.prepare(request)
        piece: Piece | None = first
        try:
            while piece:
                await response.write(piece.body)
                piece = await in_thread(lambda: next(pieces, None))
        except ClickHouseError as error:
            await response.write(_marked(f"{error} (version {engine.version} (official build))", tag))
            if request.transport:
                request.transport.close()
        return response

    async def ping(_: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def end_threads(_: web.Application) -> None:
        threads.shutdown(wait=False)

    application = web.Application()
    application.router.add_get("/ping", ping)
    application.router.add_route("*", "/", handle)
    application.on_cleanup.append(end_threads)
    return web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=shutdown_seconds,
        auto_decompress=False,  # it would lose the frames after the first
        max_line_size=URL_BYTES,
    )


def _close(pieces: Iterator[Piece]) -> None:
    pieces.close()  # type: ignore[attr-defined]


def _refusal(error: ClickHouseError, headers: dict[str, str], version: str) -> web.Response:
    return web.Response(
        status=error.status,
        text=f"{error} (version {version} (official build))\n",
        headers={name: value for name, value in headers.items() if name != "Content-Type"}
        | {"X-ClickHouse-Exception-Code": str(error.code)},
    )


def _marked(text: str, tag: str) -> bytes:
    message = text.encode()
    return b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n" % (
        tag.encode(), message, len(message) + 1, tag.encode(),
    )  # fmt: skip
