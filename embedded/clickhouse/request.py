"""Reads an HTTP request into an engine query.

The statement is the URL's `query` followed by the body, as one text. For an INSERT with a format, the data
after the statement is streamed into an in-memory file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from aiohttp import BodyPartReader, web

from embedded.clickhouse.compression import Decompressor
from embedded.clickhouse.engine import EngineQuery
from embedded.clickhouse.errors import ClickHouseError
from embedded.clickhouse.statements import find_insert, result_format
from embedded.clickhouse.upload import new_upload
from embedded.clickhouse.users import authenticate

#: The statement of an INSERT must be within the first bytes of the request.
HEAD_BYTES = 1 << 18

#: URL parameters that are not engine settings.
_NOT_SETTINGS = {
    *("query", "database", "user", "password", "quota_key", "role", "readonly", "default_format"),
    *("session_id", "session_timeout", "session_check", "query_id", "client_protocol_version"),
    *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level"),
    *("wait_end_of_query", "buffer_size", "cancel_http_readonly_queries_on_client_close"),
    *("send_progress_in_http_headers", "http_headers_progress_interval_ms"),
}


async def read_query(request: web.Request) -> EngineQuery:
    """Read the whole request. The caller closes `data`.

    Raises:
        ClickHouseError: 516 (credentials), 48 and 271 (encoding, external tables), 36 (not UTF-8, or not a
            number).
    """
    headers = request.headers
    user = authenticate(headers, request.query)
    params: dict[str, str] = dict(request.query)
    if request.content_type == "multipart/form-data":
        params |= await _form(request)  # which consumes the body
    body = _body(request)
    head = bytearray()
    if query := params.get("query", ""):
        head += query.encode() + b"\n"
    async for chunk in body:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    insert = find_insert(bytes(head))
    data = new_upload() if insert else None
    if data and insert:
        data.write(memoryview(head)[insert.data_at :])
        async for chunk in body:
            data.write(chunk)
        data.flush()
    else:
        async for chunk in body:
            head += chunk
    statement = insert.statement if insert else _text(bytes(head))
    default_format = params.get("default_format", "") or headers.get("X-ClickHouse-Format", "TabSeparated")
    return EngineQuery(
        statement=statement,
        insert=insert,
        data=data,
        user=user.name,
        read_only=user.read_only or request.method != "POST" or params.get("readonly", "0") != "0",
        sandboxed=user.read_only or params.get("readonly") == "1",
        database=params.get("database", "") or headers.get("X-ClickHouse-Database", ""),
        settings={
            name: value
            for name, value in params.items()
            if name.isidentifier() and name not in _NOT_SETTINGS and not name.startswith("param_")
        },
        parameters={
            name.removeprefix("param_"): value for name, value in params.items() if name.startswith("param_")
        },
        format=result_format(statement, default_format),
        session_id=params.get("session_id", ""),
        session_timeout=_session_timeout(params),
        wait_end=params.get("wait_end_of_query") == "1",
    )


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    decompressor = None if encoding == "identity" else Decompressor(encoding)
    async for chunk in request.content.iter_any():
        yield decompressor.decompress(chunk) if decompressor else chunk
    if decompressor:
        decompressor.finish()


async def _form(request: web.Request) -> dict[str, str]:
    """Read the fields of a multipart form, which are treated as URL parameters."""
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


def _session_timeout(parameters: Mapping[str, str]) -> float:
    value = parameters.get("session_timeout", "60")
    if not value.isdecimal():
        raise ClickHouseError(36, f"session_timeout={value}: it may be a number of seconds", "BAD_ARGUMENTS")
    return float(value)
