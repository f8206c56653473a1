"""Runs one statement on one connection of the engine; blocks, so call it from a thread.

A connection costs 0.1 ms, so each request gets its own: settings, database and parameters cannot leak, a SET
cannot break a result that is being streamed, and requests run in parallel. A session keeps its connection.

Data is inserted with `FROM INFILE` from an in-memory file: the engine's own insert API hides errors of views
and constraints, and reports rows as written that are not.
"""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from embedded.clickhouse.connection import apply_settings, temporary_settings, use_database
from embedded.clickhouse.errors import ClickHouseError, translate
from embedded.clickhouse.native import header_block
from embedded.clickhouse.sessions import Sessions
from embedded.clickhouse.statements import Insert, can_stream, file_clause, strip_format
from embedded.clickhouse.upload import path_of
from runtime.errors import StartupError

#: Minimum size of a chunk of a streamed result, except for the last one.
CHUNK_BYTES = 1 << 20
#: The engine buffers small inserts by default since 26.x; a response must mean that the rows are stored.
DEFAULTS = {"async_insert": "0"}


@dataclass(frozen=True)
class EngineQuery:
    """A statement with its context. For an INSERT with data, `data` is the file that holds it."""

    statement: str
    insert: Insert | None
    data: IO[bytes] | None
    user: str
    #: Only reads are allowed, because of the user or the HTTP method.
    read_only: bool
    #: Reading files of this machine is not allowed either.
    sandboxed: bool
    database: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    session_id: str
    #: Seconds until an idle session expires.
    session_timeout: float
    #: Format of the result.
    format: str
    #: Do not stream: send the response only once the result is complete.
    wait_end: bool


@dataclass(frozen=True)
class Chunk:
    """Bytes of a result, with a `summary` (counters as text) only if they are all of it."""

    body: bytes
    summary: Mapping[str, str] | None = None


class Engine:
    """The engine on one data folder (or `:memory:`): one per process, and one process per folder.

    Raises:
        StartupError: the wheel is missing, or another process uses the folder.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            self._chdb: Any = importlib.import_module("chdb._chdb")
        except ImportError:
            missing = "The embedded ClickHouse is not installed: pip install 'postbacks[embedded]'"
            raise StartupError(missing) from None
        self._chdb.set_signal_handlers_enabled(0)
        self._path = str(path)
        try:
            self._base = self._chdb.connect(self._path)  # keeps the engine up between requests
        except RuntimeError as error:
            raise StartupError(f"{path} cannot be opened; does another process use it? ({error})") from None
        info: bytes = self._base.query("SELECT version(), timezone()", "TSV").bytes()
        self.version, self.timezone = info.decode().split()
        self._parser_lock = threading.Lock()
        self._sessions = Sessions(self._connect, time.monotonic)

    def run(self, query: EngineQuery) -> Generator[Chunk, None, None]:
        """Yield the result: a single chunk with a summary, or one or more without if it is streamed.

        Closing the generator cancels the statement.

        Raises:
            ClickHouseError: from the engine; or 164 (read-only), 62 (several statements), 78 and 358 (files).
        """
        try:
            parses = self._check(query)
            with self._connection(query, parses) as connection:
                if query.insert:
                    yield self._insert(connection, query, query.insert)
                elif not query.wait_end and can_stream(query.statement, query.format):
                    yield from self._stream(connection, query)
                else:
                    yield self._query(connection, query)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise translate(error) from None

    def cancel_all(self) -> None:
        """Cancel all running statements; their callers get error 394."""
        connection = self._connect()
        connection.query("KILL QUERY WHERE 1 ASYNC", "Null")
        connection.close()

    def _connect(self) -> Any:
        connection = self._chdb.connect(self._path)
        apply_settings(connection, DEFAULTS)
        return connection

    def _check(self, query: EngineQuery) -> bool:
        """Return whether the statement parses; raise if it is not allowed."""
        kinds = self._chdb.query_class
        kind, count = self._classify(query.statement)
        if count > 1:
            raise ClickHouseError(62, "Syntax error: Multi-statements are not allowed", "SYNTAX_ERROR")
        match file_clause(query.statement):
            case "INTO OUTFILE":
                raise ClickHouseError(358, "INTO OUTFILE is not allowed", "INTO_OUTFILE_NOT_ALLOWED")
            case "FROM INFILE":
                text = "Query has infile and was send directly to server"
                raise ClickHouseError(78, text, "UNKNOWN_TYPE_OF_QUERY")
        if query.read_only and kind not in (kinds.READ_ONLY, kinds.UNKNOWN):
            raise ClickHouseError(164, "Cannot execute query in readonly mode", "READONLY")
        return bool(kind != kinds.UNKNOWN)

    def _classify(self, statement: str) -> tuple[Any, int]:
        """Return the kind of the statement and the number of statements, from the engine's own parser."""
        with self._parser_lock:
            parsed = self._base.classify_query(statement)
        return parsed["query_class"], parsed["statement_count"]

    @contextmanager
    def _connection(self, query: EngineQuery, parses: bool) -> Iterator[Any]:
        # A statement that does not parse is run for its error only, on a connection where it can do no harm.
        if query.session_id and parses and not query.sandboxed:
            with self._sessions.acquire(query.user, query.session_id, query.session_timeout) as connection:
                use_database(connection, query.database)
                with temporary_settings(connection, query.settings):
                    yield connection
            return
        connection = self._connect()
        try:
            use_database(connection, query.database)
            apply_settings(connection, query.settings)
            if query.sandboxed or not parses:
                apply_settings(connection, {"readonly": "1"})
            yield connection
        finally:
            connection.close()

    def _insert(self, connection: Any, query: EngineQuery, insert: Insert) -> Chunk:
        assert query.data
        result = connection.query(
            f"{insert.into} FROM INFILE '{path_of(query.data)}' COMPRESSION 'none' "
            f"{insert.settings} FORMAT {insert.format}",
            "Null",
        )
        return Chunk(b"", _summary(result))

    def _query(self, connection: Any, query: EngineQuery) -> Chunk:
        result = connection.query(query.statement, query.format, params=dict(query.parameters))
        return Chunk(result.bytes() or self._empty_result(connection, query), _summary(result))

    def _stream(self, connection: Any, query: EngineQuery) -> Iterator[Chunk]:
        stream = connection.send_query(query.statement, query.format, params=dict(query.parameters))
        buffer, size, started, done = [], 0, False, False
        try:
            while not done:
                part = connection.streaming_fetch_result(stream).bytes() or b""
                done = not part
                buffer.append(part)
                size += len(part)
                if size >= CHUNK_BYTES or (done and size):
                    yield Chunk(b"".join(buffer))
                    buffer, size, started = [], 0, True
        finally:
            if not done:
                connection.streaming_cancel_query(stream)
        if not started:
            yield Chunk(self._empty_result(connection, query))

    def _empty_result(self, connection: Any, query: EngineQuery) -> bytes:
        """Return an empty result: a header block in the Native format, nothing in all others."""
        if (
            query.format.lower() != "native"
            or self._classify(query.statement)[0] != self._chdb.query_class.READ_ONLY
        ):
            return b""
        result = connection.query(
            strip_format(query.statement), "JSONCompact", params=dict(query.parameters)
        ).bytes()
        columns = json.loads(result)["meta"] if result else []
        return header_block([(column["name"], column["type"]) for column in columns]) if columns else b""


def _summary(result: Any) -> dict[str, str]:
    return {
        "read_rows": str(result.rows_read()),
        "read_bytes": str(result.bytes_read()),
        "written_rows": str(result.rows_written()),
        "written_bytes": str(result.bytes_written()),
        "elapsed_ns": str(int(result.elapsed() * 1e9)),
    }
