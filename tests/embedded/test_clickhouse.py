"""The embedded ClickHouse over HTTP: clickhouse-connect, plain requests, and a kill -9."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import lz4.frame
import pytest
from backports import zstd
from clickhouse_connect import get_async_client, get_client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from tests.support.sinks import open_clickhouse


class Response:
    """Status, headers, error code (0: none) and body of an HTTP response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.code = int(response.headers.get("X-ClickHouse-Exception-Code", 0))
        self.headers = response.headers
        self.body = response.read().decode()


def send(url: str, statement: str | bytes = "", method: str = "POST", **parameters: str) -> Response:
    """Run a statement in the URL's database, as the body of a POST or the query of a GET.

    Parameters that begin with `h_` are sent as headers.
    """
    parts = urlsplit(url)
    headers = {name[2:]: parameters.pop(name) for name in list(parameters) if name.startswith("h_")}
    parameters = {"database": parts.path.strip("/") or "default", **parameters}
    if method == "GET" and isinstance(statement, str):
        parameters["query"], statement = statement, ""
    body = statement.encode() if isinstance(statement, str) else statement
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    with closing(connection):
        connection.request(
            method,
            f"/?{urlencode(parameters, quote_via=quote)}",
            body,
            {k.replace("_", "-"): v for k, v in headers.items()},
        )
        return Response(connection.getresponse())


def scalar(url: str, statement: str, **parameters: str) -> str:
    """Return the result of a statement that has one value."""
    response = send(url, statement, **parameters)
    assert response.status == 200, response.body
    return response.body.strip()


@pytest.fixture
def client(database: str) -> Iterator[Any]:
    with closing(get_client(dsn=database)) as opened:
        yield opened


@pytest.fixture
def table(client: Any) -> str:
    client.command(
        "CREATE TABLE t (a UInt32, s String, CONSTRAINT small CHECK a < 1000) ENGINE MergeTree ORDER BY a"
    )
    return "t"


# clickhouse-connect


@pytest.mark.parametrize("compression", [False, "lz4", "zstd", "gzip"])
def test_inserted_rows_are_returned_with_any_compression(database: str, table: str, compression: Any) -> None:
    rows = [[i, f"row {i}"] for i in range(1_000)]
    with closing(get_client(dsn=database, compress=compression)) as client:
        summary = client.insert(table, rows, column_names=["a", "s"])
        assert summary.written_rows == len(rows)
        assert [list(row) for row in client.query("SELECT a, s FROM t ORDER BY a").result_rows] == rows


@pytest.mark.parametrize("compression", [False, "lz4", "zstd", "gzip"])
def test_all_frames_of_a_large_insert_are_stored(database: str, client: Any, compression: Any) -> None:
    # The client sends a frame per block of some thousand rows; one-shot decompression returns only the first.
    client.command("CREATE TABLE wide (a UInt32, s String) ENGINE MergeTree ORDER BY a")
    rows = [[i, f"{i:0>200}"] for i in range(60_000)]
    with closing(get_client(dsn=database, compress=compression)) as writer:
        writer.insert("wide", rows, column_names=["a", "s"])
    assert client.query("SELECT count(), uniqExact(a), max(a) FROM wide").result_rows == [
        (60_000, 60_000, 59_999)
    ]


def test_raw_insert_accepts_bytes_and_generators(client: Any, table: str) -> None:
    client.raw_insert(table, insert_block=b'{"a":1,"s":"one"}\n', fmt="JSONEachRow")
    client.raw_insert(table, insert_block=(b'{"a":%d,"s":"x"}\n' % i for i in range(2, 6)), fmt="JSONEachRow")
    client.raw_insert(table, column_names=["s", "a"], insert_block=b"seven,7\n", fmt="CSV")
    assert client.query("SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)").result_rows == [
        ([1, 2, 3, 4, 5, 7],)
    ]


async def test_async_client_runs_many_statements_concurrently(database: str, table: str) -> None:
    async with await get_async_client(dsn=database, autogenerate_session_id=False) as client:
        inserts = [
            client.raw_insert(table, insert_block=b'{"a":%d,"s":"x"}\n' % i, fmt="JSONEachRow")
            for i in range(50)
        ]
        await asyncio.gather(*inserts)
        responses = await asyncio.gather(
            *(client.query(f"SELECT count() FROM t WHERE a < {i}") for i in range(50))
        )
    assert [response.result_rows[0][0] for response in responses] == list(range(50))


def test_large_result_is_streamed(client: Any) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(1000000)") as blocks:
        assert sum(row[0] for block in blocks for row in block) == sum(range(1_000_000))


def test_error_during_streaming_reaches_the_client(client: Any) -> None:
    statement = "SELECT throwIf(number = 3000000, 'too far') FROM numbers(4000000)"
    with (
        pytest.raises(StreamFailureError, match="too far"),
        client.query_row_block_stream(statement, settings={"max_threads": 1}) as blocks,
    ):
        for _ in blocks:
            pass


def test_empty_result_has_column_names(client: Any, table: str) -> None:
    result = client.query(
        "SELECT a, s AS a_long_name_of_more_than_127_letters_" + "x" * 100 + " FROM t WHERE a = 12345"
    )
    assert result.result_rows == []
    assert result.column_names == ("a", "a_long_name_of_more_than_127_letters_" + "x" * 100)


def test_parameters_are_bound_by_the_engine(client: Any) -> None:
    parameters = {"text": "it's\ta \\ trap\n", "numbers": [1, 2], "nothing": None}
    statement = "SELECT {text:String}, {numbers:Array(UInt8)}, {nothing:Nullable(String)}"
    assert client.query(statement, parameters=parameters).result_rows == [("it's\ta \\ trap\n", [1, 2], None)]


def test_session_keeps_temporary_tables_and_settings(database: str) -> None:
    with closing(get_client(dsn=database, session_id="mine")) as client:
        client.command("CREATE TEMPORARY TABLE t (a UInt8)")
        client.command("SET max_threads = 3")
        client.command("INSERT INTO t VALUES (7)")
        assert client.query("SELECT a FROM t", settings={"max_threads": 1}).result_rows == [(7,)]
        assert client.command("SELECT value FROM system.settings WHERE name = 'max_threads'") == 3
    with closing(get_client(dsn=database, session_id="other")) as client, pytest.raises(DatabaseError):
        client.query("SELECT a FROM t")


def test_eight_clients_insert_and_query_concurrently(database: str, table: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with closing(get_client(dsn=database)) as client:
                for i in range(10):
                    client.insert(table, [[number * 10 + i, "x"]], column_names=["a", "s"])
                    client.query("SELECT count() FROM t")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert scalar(database, "SELECT uniqExact(a) FROM t") == "80"


# Inserts


def test_invalid_row_is_named_and_its_batch_not_stored(database: str, table: str) -> None:
    rows = b'{"a":1,"s":"x"}\n{"a":"zz","s":"y"}\n{"a":3,"s":"z"}\n'
    response = send(database, b"INSERT INTO t FORMAT JSONEachRow\n" + rows)
    assert (response.status, response.code) == (400, 27)
    assert "(while reading the value of key a): (at row 2)" in response.body
    assert "/proc/self/fd" not in response.body
    assert scalar(database, "SELECT count() FROM t") == "0"


def test_constraint_violation_fails_the_insert(database: str, table: str) -> None:
    response = send(database, b'INSERT INTO t FORMAT JSONEachRow {"a":1,"s":"x"}\n{"a":5000,"s":"y"}\n')
    assert response.code == 469
    assert "is violated at row 2" in response.body
    assert scalar(database, "SELECT count() FROM t") == "0"


def test_error_with_non_utf8_bytes_is_reported(database: str) -> None:
    response = send(database, "SELECT toUUID(unhex('FFFE61'))")
    assert (response.code, "uuid \\xff\\xfea" in response.body) == (376, True)


def test_failing_view_fails_the_insert(database: str, table: str) -> None:
    create = "CREATE MATERIALIZED VIEW v ENGINE Memory AS SELECT throwIf(a = 13) AS x FROM t"
    assert send(database, create).status == 200
    assert send(database, b'INSERT INTO t FORMAT JSONEachRow {"a":13,"s":"x"}').code == 395


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t FORMAT CSV\n1,x\n2,y\n",
        "insert into t(s, a) format TSV\nx\t1\ny\t2\n",
        'INSERT INTO TABLE `t` (`a`, "s") SETTINGS input_format_allow_errors_num = 0 FORMAT JSONEachRow\n'
        '{"a":1,"s":"x"}{"a":2,"s":"y"}',
        "/* a comment (with FORMAT) */ INSERT INTO t (a, s) FORMAT Values (1, 'x'), (2, 'FORMAT CSV')",
        "INSERT INTO t VALUES (1, 'x'), (2, 'y')",
        "INSERT INTO t SELECT number + 1, 'x' FROM numbers(2) FORMAT Null",
    ],
)
def test_inserts_are_parsed_in_all_notations(database: str, table: str, statement: str) -> None:
    response = send(database, statement)
    assert response.status == 200, response.body
    assert scalar(database, "SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)") == "[1,2]"


def test_statement_in_url_with_rows_in_body(database: str, table: str) -> None:
    assert send(database, b"1,x\n2,y\n", query="INSERT INTO t FORMAT CSV").body == ""
    assert scalar(database, "SELECT count() FROM t") == "2"


def test_non_utf8_bytes_are_stored_unchanged(database: str, table: str) -> None:
    assert send(database, b"INSERT INTO t FORMAT TSV\n1\t\xff\xfe\n").body == ""
    assert scalar(database, "SELECT hex(s) FROM t") == "FFFE"
    assert send(database, b"SELECT '\xff'").code == 36


def test_async_insert_is_disabled(database: str, table: str) -> None:
    assert scalar(database, "SELECT value FROM system.settings WHERE name = 'async_insert'") == "0"


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_truncated_body_is_rejected_as_a_whole(database: str, table: str, encoding: str) -> None:
    compress = {
        "lz4": lz4.frame.compress,
        "zstd": zstd.compress,
        "gzip": gzip.compress,
        "deflate": zlib.compress,
    }
    whole = compress[encoding](b'INSERT INTO t FORMAT JSONEachRow {"a":1,"s":"x"}\n')
    rest = compress[encoding](b'{"a":2,"s":"%s"}\n' % (b"y" * 500))
    response = send(database, whole + rest[:-5], h_Content_Encoding=encoding)
    assert (response.status, response.code) == (500, 271)
    assert scalar(database, "SELECT count() FROM t") == "0"
    assert send(database, whole + rest, h_Content_Encoding=encoding).body == ""
    assert scalar(database, "SELECT count() FROM t") == "2"


def test_unknown_encoding_is_rejected(database: str) -> None:
    response = send(database, b"SELECT 1", h_Content_Encoding="br")
    assert response.status == 501
    assert "Content-Encoding br: it may be lz4, zstd, gzip, deflate" in response.body


# Errors and permissions


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("SELECT * FROM nowhere", 404, 60),
        ("SELECT * FROM nowhere.t", 404, 81),
        ("selec 1", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT 1 SETTINGS no_such_setting = 1", 404, 115),
        ("SELECT toUInt8('x')", 400, 6),
        ("SELECT sleep(3) SETTINGS max_execution_time = 1", 408, 159),
        ("SELECT 1 INTO /* a comment */ OUTFILE '/tmp/postbacks-outfile'", 500, 358),
        ("INSERT INTO t FROM INFILE '/etc/hosts' FORMAT CSV", 404, 78),
    ],
)
def test_error_has_its_status_and_code(
    database: str, table: str, statement: str, status: int, code: int
) -> None:
    response = send(database, statement)
    assert (response.status, response.code) == (status, code), response.body
    assert response.body.startswith(f"Code: {code}. DB::Exception: ")
    assert scalar(database, "EXISTS TABLE t") == "1"
    assert not Path("/tmp/postbacks-outfile").exists()


def test_nothing_runs_if_a_statement_does_not_parse(database: str, table: str) -> None:
    assert send(database, "DROP TABLE t; selec 1").code != 0
    assert scalar(database, "EXISTS TABLE t") == "1"


def test_file_clauses_in_literals_and_comments_are_ignored(database: str) -> None:
    assert scalar(database, "SELECT 'INTO OUTFILE' -- FROM INFILE") == "INTO OUTFILE"


def test_wrong_credentials_get_authentication_error(clickhouse: str) -> None:
    for response in (
        send(clickhouse, "SELECT 1", user="default", password="wrong"),
        send(clickhouse, "SELECT 1", h_X_ClickHouse_User="unknown"),
        send(clickhouse, "SELECT 1", h_Authorization="Basic ZGVmYXVsdDp3cm9uZw=="),
        send(clickhouse, "SELECT 1", h_Authorization="Basic %%%"),
        send(clickhouse, "SELECT 1", h_Authorization="Bearer token"),
    ):
        assert (response.status, response.code) == (403, 516)
    with pytest.raises(DatabaseError, match="516"):
        get_client(dsn=clickhouse, password="wrong")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES (1, 'x')",
        "INSERT INTO t FORMAT CSV 1,x",
        "DROP TABLE t",
        "SET readonly = 0",
        "SELECT * FROM file('/etc/hosts', 'LineAsString')",
        "SELECT 1 INTO OUTFILE '/tmp/postbacks-outfile'",
        "INSERT INTO FUNCTION file('/tmp/postbacks-outfile', 'CSV') SELECT 1",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
    ],
)
def test_reader_reads_only_tables(database: str, table: str, statement: str) -> None:
    refused = send(database, statement, user="reader")
    assert refused.code in (164, 358, 344, 497), refused.body
    assert scalar(database, "SELECT count() FROM t", user="reader", max_threads="1") == "0"
    assert not Path("/tmp/postbacks-outfile").exists()


def test_reader_cannot_lift_restrictions_by_parameter(database: str, table: str) -> None:
    for parameters in ({"readonly": "0"}, {"session_id": "s", "readonly": "0"}):
        assert send(database, "DROP TABLE t", user="reader", **parameters).code == 164
        statement = "SELECT * FROM file('/etc/hosts', 'LineAsString')"
        assert send(database, statement, user="reader", **parameters).code == 164


def test_get_is_read_only_but_may_change_settings(database: str, table: str) -> None:
    assert send(database, "DROP TABLE t", method="GET").code == 164
    assert send(database, "SELECT 7 SETTINGS max_threads = 1", method="GET").body == "7\n"
    assert send(database, "SELECT 7", readonly="1").body == "7\n"
    assert send(database, "DROP TABLE t", readonly="2").code == 164


def running_statements(url: str) -> str:
    return scalar(url, "SELECT groupArray(query) FROM system.processes")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_concurrent_requests_to_a_session_are_rejected(database: str) -> None:
    slow = threading.Thread(target=lambda: scalar(database, "SELECT sleep(1.5)", session_id="one"))
    slow.start()
    wait_until(lambda: "sleep(1.5)" in running_statements(database))
    refused = send(database, "SELECT 1", session_id="one")
    assert (refused.status, refused.code) == (423, 373)
    slow.join()
    assert scalar(database, "SELECT 1", session_id="one") == "1"


def test_settings_do_not_leak_to_the_next_request(database: str) -> None:
    assert scalar(database, "SELECT getSetting('max_block_size')", max_block_size="123") == "123"
    assert scalar(database, "SELECT getSetting('max_block_size')") != "123"


def test_plain_http_requests_get_formatted_results(clickhouse: str) -> None:
    assert send(clickhouse).body == "Ok.\n"
    response = send(clickhouse, "SELECT 1 AS one FORMAT JSON", method="GET")
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(response.body)["data"] == [{"one": 1}]
    assert send(clickhouse, "SELECT number FROM numbers(3)").body == "0\n1\n2\n"
    assert send(clickhouse, "SELECT 'x' AS a", default_format="CSVWithNames").body == '"a"\n"x"\n'
    assert (
        send(
            clickhouse,
            "SELECT count() FROM numbers(5000) WHERE NOT ignore(repeat('x', 9))" + " " * 20_000,
            "GET",
        ).body
        == "5000\n"
    )


# The engine


def test_refreshable_view_is_refreshed(database: str, table: str) -> None:
    def refreshed() -> str:
        assert send(database, "SYSTEM REFRESH VIEW summary").body == ""
        assert send(database, "SYSTEM WAIT VIEW summary").body == ""
        return scalar(database, "SELECT n FROM summary")

    create = (
        "CREATE MATERIALIZED VIEW summary REFRESH EVERY 1 MINUTE (n UInt64) ENGINE MergeTree ORDER BY n AS "
    )
    assert send(database, create + "SELECT count() AS n FROM t").body == ""
    assert refreshed() == "0"
    assert send(database, "INSERT INTO t VALUES (1, 'x')").body == ""
    assert refreshed() == "1"


@pytest.mark.engine
def test_acknowledged_rows_survive_a_kill(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    with open_clickhouse(tmp_path) as process:
        url = process.read_line()
        assert send(url, "CREATE TABLE stored (a UInt32) ENGINE MergeTree ORDER BY a").body == ""

        def write(first: int) -> None:
            with suppress(OSError, http.client.HTTPException):
                for batch in range(first, 1_000_000, 4):
                    rows = range(batch * 10, batch * 10 + 10)
                    data = "".join(f"{row}\n" for row in rows)
                    assert send(url, f"INSERT INTO stored FORMAT TSV\n{data}").body == ""
                    acknowledged.extend(rows)

        writers = [threading.Thread(target=write, args=(first,)) for first in range(4)]
        for writer in writers:
            writer.start()
        wait_until(lambda: len(acknowledged) >= 500)
        process.kill()
        for writer in writers:
            writer.join()
    with open_clickhouse(tmp_path) as process:
        stored = {int(row) for row in send(process.read_line(), "SELECT a FROM stored").body.split()}
    assert set(acknowledged) <= stored


@pytest.mark.engine
def test_sigterm_cancels_a_long_statement(tmp_path: Path) -> None:
    with open_clickhouse(tmp_path) as process:
        url = process.read_line()
        responses: list[Response] = []
        statement = "SELECT sum(sipHash64(number)) FROM numbers(1000000000000) FORMAT JSON"
        thread = threading.Thread(target=lambda: responses.append(send(url, statement)))
        thread.start()
        wait_until(lambda: "1000000000000" in running_statements(url))
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 8
        thread.join()
    assert [response.code for response in responses] == [394]


@pytest.mark.engine
def test_folder_in_use_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open_clickhouse(tmp_path) as first:
        first.read_line()
        with open_clickhouse(tmp_path) as second:
            assert second.popen.wait(60) == 2
    assert f"{tmp_path}/clickhouse cannot be opened; does another process use it?" in capfd.readouterr().err
