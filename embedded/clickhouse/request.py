"""An HTTP request, read into what is asked of the engine.

A statement is the URL's `query` and then the body, as one text. When it is an INSERT in a format, what
follows goes into a file in memory as it comes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from aiohttp import BodyPartReader, web

from embedded.clickhouse.compression import Decompressor
from embedded.clickhouse.engine import EngineQuery
from embedded.clickhouse.errors import ClickHouseError
from embedded.clickhouse.statements import find_insert, result_format
from embedded.clickhouse.upload import new_upload
from embedded.clickhouse.users import log_in

#: An INSERT's statement is in the first bytes of what is sent.
HEAD_BYTES = 1 << 18

#: Parameters of the URL that are not settings of the engine.
_NOT_SETTINGS = {
    *("query", "database", "user", "password", "quota_key", "role", "readonly", "default_format"),
    *("session_id", "session_timeout", "session_check", "query_id", "client_protocol_version"),
    *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
    *("wait_end_of_query", "buffer_size", "cancel_http_readonly_queries_on_client_close"),
    *("send_progress_in_http_headers", "http_headers_progress_interval_ms"),
}


async def read_request(request: web.Request) -> EngineQuery:
    """What a request asks. The caller closes `data`.

    Raises:
        ClickHouseError: 516 (credentials), 48 and 271 (encoding, external tables), 36 (not UTF-8, a number).
    """
    headers = request.headers
    user = log_in(headers, request.query)
    given: dict[str, str] = dict(request.query)
    if request.content_type == "multipart/form-data":
        given |= await _form(request)  # and nothing is left of the body
    body = _body(request)
    head = bytearray()
    if query := given.get("query", ""):
        head += query.encode() + b"\n"
    async for piece in body:
        head += piece
        if len(head) >= HEAD_BYTES:
            break
    insert = find_insert(bytes(head))
    data = new_upload() if insert else None
    if data and insert:
        data.write(memoryview(head)[insert.data_at :])
        async for piece in body:
            data.write(piece)
        data.flush()
    else:
        async for piece in body:
            head += piece
    statement = insert.statement if insert else _text(bytes(head))
    default_format = given.get("default_format", "") or headers.get("X-ClickHouse-Format", "TabSeparated")
    return EngineQuery(
        statement=statement,
        insert=insert,
        data=data,
        user=user.name,
        reads_only=user.reads_only or request.method != "POST" or given.get("readonly", "0") != "0",
        confined=user.reads_only or given.get("readonly") == "1",
        database=given.get("database", "") or headers.get("X-ClickHouse-Database", ""),
        settings={
            name: value
            for name, value in given.items()
            if name.isidentifier() and name not in _NOT_SETTINGS and not name.startswith("param_")
        },
        parameters={
            name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")
        },
        format=result_format(statement, default_format),
        session_id=given.get("session_id", ""),
        session_seconds=_seconds(given),
        wait_end=given.get("wait_end_of_query") == "1",
    )


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        async for piece in request.content.iter_any():
            yield piece
        return
    decompressor = Decompressor(encoding)
    async for piece in request.content.iter_any():
        yield decompressor.feed(piece)
    decompressor.end()


async def _form(request: web.Request) -> dict[str, str]:
    """The fields of a form; they count as parameters of the URL."""
    fields = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.filename is not None:
            raise ClickHouseError(48, "External tables are not implemented here", "NOT_IMPLEMENTED")
        fields[part.name or ""] = await part.text()
    return fields


def _text(statement: bytes) -> str:
    try:
        return statement.decode()
    except UnicodeDecodeError:
        text = "The statement is not UTF-8; send other bytes as data, INSERT … FORMAT …"
        raise ClickHouseError(36, text, "BAD_ARGUMENTS") from None


def _seconds(given: Mapping[str, str]) -> float:
    value = given.get("session_timeout", "60")
    if not value.isdecimal():
        raise ClickHouseError(36, f"session_timeout={value}: it may be a number of seconds", "BAD_ARGUMENTS")
    return float(value)
