"""One statement on one connection of the engine, in a thread.

A connection costs 0.1 ms, so every request has its own: settings, database and parameters cannot leak, a SET
cannot kill somebody's stream, and requests run in parallel. Sessions keep theirs.

Data is inserted through `FROM INFILE` on a file in memory: the engine's own way of taking data hides the
errors of views and constraints, and reports rows as written that are not.
"""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from embedded.clickhouse.connection import set_all, settings_for_now, use
from embedded.clickhouse.errors import ClickHouseError, translate
from embedded.clickhouse.native import header
from embedded.clickhouse.sessions import Sessions
from embedded.clickhouse.statements import Insert, can_stream, named_files, without_format
from embedded.clickhouse.upload import path_of
from embedded.errors import CannotServe

#: Pieces of a streamed result are gathered to at least this many bytes.
PIECE_BYTES = 1 << 20
#: The engine gathers small inserts by itself since 26.x: an answer must mean that the rows are there.
DEFAULTS = {"async_insert": "0"}


@dataclass(frozen=True)
class EngineQuery:
    """A request to the engine. For an INSERT with data, `data` is a file that holds it."""

    statement: str
    insert: Insert | None
    data: IO[bytes] | None
    user: str
    #: The user, or the request's method, may only read.
    reads_only: bool
    #: May not read files of this machine either.
    confined: bool
    database: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    session_id: str
    session_seconds: float
    #: Of the result.
    format: str
    #: The result must not be begun before it is complete.
    wait_end: bool


@dataclass(frozen=True)
class Piece:
    """Bytes of the result; `summary` comes with the whole of it, counts as text, and not with a part."""

    body: bytes
    summary: Mapping[str, str] | None = None


class Engine:
    """The engine on one data folder (or `:memory:`); a process can have one, a folder one process.

    Raises:
        CannotServe: the wheel is missing, or another process uses the folder.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            self._chdb: Any = importlib.import_module("chdb._chdb")
        except ImportError:
            missing = "The embedded ClickHouse is not installed: pip install 'postbacks[embedded]'"
            raise CannotServe(missing) from None
        self._chdb.set_signal_handlers_enabled(0)
        self._path = str(path)
        try:
            self._base = self._chdb.connect(self._path)  # keeps the engine up between requests
        except RuntimeError as error:
            raise CannotServe(f"{path} cannot be opened; does another process use it? ({error})") from None
        known: bytes = self._base.query("SELECT version(), timezone()", "TSV").bytes()
        self.version, self.timezone = known.decode().split()
        self._parser = threading.Lock()
        self._sessions = Sessions(self._connect, time.monotonic)

    def run(self, asked: EngineQuery) -> Iterator[Piece]:
        """The result: one piece with a summary, or as many without as a streamed one takes (at least one).

        Closing the iterator ends the statement.

        Raises:
            ClickHouseError: the engine's, or 164 (reads only), 62 (several statements), 78 and 358 (files).
        """
        try:
            parses = self._check(asked)
            with self._connection(asked, parses) as connection:
                if asked.insert:
                    yield self._insert(connection, asked, asked.insert)
                elif not asked.wait_end and can_stream(asked.statement, asked.format):
                    yield from self._stream(connection, asked)
                else:
                    yield self._query(connection, asked)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise translate(error) from None

    def cancel_all(self) -> None:
        """End every statement that runs; their callers get error 394."""
        connection = self._connect()
        connection.query("KILL QUERY WHERE 1 ASYNC", "Null")
        connection.close()

    def _connect(self) -> Any:
        connection = self._chdb.connect(self._path)
        set_all(connection, DEFAULTS)
        return connection

    def _check(self, asked: EngineQuery) -> bool:
        """Whether the statement parses; raises when it is not to be run."""
        kinds = self._chdb.query_class
        kind, count = self._classify(asked.statement)
        if count > 1:
            raise ClickHouseError(62, "Syntax error: Multi-statements are not allowed", "SYNTAX_ERROR")
        match named_files(asked.statement):
            case "INTO OUTFILE":
                raise ClickHouseError(358, "INTO OUTFILE is not allowed", "INTO_OUTFILE_NOT_ALLOWED")
            case "FROM INFILE":
                text = "Query has infile and was send directly to server"
                raise ClickHouseError(78, text, "UNKNOWN_TYPE_OF_QUERY")
        if asked.reads_only and kind not in (kinds.READ_ONLY, kinds.UNKNOWN):
            raise ClickHouseError(164, "Cannot execute query in readonly mode", "READONLY")
        return bool(kind != kinds.UNKNOWN)

    def _classify(self, statement: str) -> tuple[Any, int]:
        """The engine's own parser: what kind of statement, and how many."""
        with self._parser:
            found = self._base.classify_query(statement)
        return found["query_class"], found["statement_count"]

    @contextmanager
    def _connection(self, asked: EngineQuery, parses: bool) -> Iterator[Any]:
        # What does not parse is run for its error alone, where it cannot do anything.
        if asked.session_id and parses and not asked.confined:
            with self._sessions.use(asked.user, asked.session_id, asked.session_seconds) as connection:
                use(connection, asked.database)
                with settings_for_now(connection, asked.settings):
                    yield connection
            return
        connection = self._connect()
        try:
            use(connection, asked.database)
            set_all(connection, asked.settings)
            if asked.confined or not parses:
                set_all(connection, {"readonly": "1"})
            yield connection
        finally:
            connection.close()

    def _insert(self, connection: Any, asked: EngineQuery, insert: Insert) -> Piece:
        assert asked.data
        result = connection.query(
            f"{insert.into} FROM INFILE '{path_of(asked.data)}' COMPRESSION 'none' "
            f"{insert.settings} FORMAT {insert.format}",
            "Null",
        )
        return Piece(b"", _summary(result))

    def _query(self, connection: Any, asked: EngineQuery) -> Piece:
        result = connection.query(asked.statement, asked.format, params=dict(asked.parameters))
        return Piece(result.bytes() or self._empty(connection, asked), _summary(result))

    def _stream(self, connection: Any, asked: EngineQuery) -> Iterator[Piece]:
        stream = connection.send_query(asked.statement, asked.format, params=dict(asked.parameters))
        gathered, size, began, over = [], 0, False, False
        try:
            while not over:
                part = connection.streaming_fetch_result(stream).bytes() or b""
                over = not part
                gathered.append(part)
                size += len(part)
                if size >= PIECE_BYTES or (over and size):
                    yield Piece(b"".join(gathered))
                    gathered, size, began = [], 0, True
        finally:
            if not over:
                connection.streaming_cancel_query(stream)
        if not began:
            yield Piece(self._empty(connection, asked))

    def _empty(self, connection: Any, asked: EngineQuery) -> bytes:
        """An empty result: nothing, but a header in Native."""
        if (
            asked.format.lower() != "native"
            or self._classify(asked.statement)[0] != self._chdb.query_class.READ_ONLY
        ):
            return b""
        again = connection.query(
            without_format(asked.statement), "JSONCompact", params=dict(asked.parameters)
        ).bytes()
        columns = json.loads(again)["meta"] if again else []
        return header([(column["name"], column["type"]) for column in columns]) if columns else b""


def _summary(result: Any) -> dict[str, str]:
    return {
        "read_rows": str(result.rows_read()),
        "read_bytes": str(result.bytes_read()),
        "written_rows": str(result.rows_written()),
        "written_bytes": str(result.bytes_written()),
        "elapsed_ns": str(int(result.elapsed() * 1e9)),
    }
