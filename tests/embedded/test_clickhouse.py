"""The embedded ClickHouse, asked as its users ask it: clickhouse-connect, curl's requests, and a kill -9."""

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

from tests.support.process import running


class Answer:
    """Of a plain HTTP request: status, headers, body as text."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.code = int(response.headers.get("X-ClickHouse-Exception-Code", 0))
        self.headers = response.headers
        self.body = response.read().decode()


def ask(url: str, statement: str | bytes = "", method: str = "POST", **parameters: str) -> Answer:
    """The statement as the body of a POST (as the URL's query of a GET), in the URL's database."""
    place = urlsplit(url)
    headers = {name[2:]: parameters.pop(name) for name in list(parameters) if name.startswith("h_")}
    parameters = {"database": place.path.strip("/") or "default", **parameters}
    if method == "GET" and isinstance(statement, str):
        parameters["query"], statement = statement, ""
    body = statement.encode() if isinstance(statement, str) else statement
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    with closing(connection):
        connection.request(
            method,
            f"/?{urlencode(parameters, quote_via=quote)}",
            body,
            {k.replace("_", "-"): v for k, v in headers.items()},
        )
        return Answer(connection.getresponse())


def value(url: str, statement: str, **parameters: str) -> str:
    """The one value that the statement answers."""
    answer = ask(url, statement, **parameters)
    assert answer.status == 200, answer.body
    return answer.body.strip()


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


# What clickhouse-connect does.


@pytest.mark.parametrize("compression", [False, "lz4", "zstd", "gzip"])
def test_rows_come_back_as_they_went_in_whatever_the_compression(
    database: str, table: str, compression: Any
) -> None:
    rows = [[i, f"row {i}"] for i in range(1_000)]
    with closing(get_client(dsn=database, compress=compression)) as client:
        summary = client.insert(table, rows, column_names=["a", "s"])
        assert summary.written_rows == len(rows)
        assert [list(row) for row in client.query("SELECT a, s FROM t ORDER BY a").result_rows] == rows


@pytest.mark.parametrize("compression", [False, "lz4", "zstd", "gzip"])
def test_every_block_of_a_large_insert_arrives(database: str, client: Any, compression: Any) -> None:
    # The client sends a frame for each block of some thousand rows: one-shot decompression keeps the first.
    client.command("CREATE TABLE wide (a UInt32, s String) ENGINE MergeTree ORDER BY a")
    rows = [[i, f"{i:0>200}"] for i in range(60_000)]
    with closing(get_client(dsn=database, compress=compression)) as writer:
        writer.insert("wide", rows, column_names=["a", "s"])
    assert client.query("SELECT count(), uniqExact(a), max(a) FROM wide").result_rows == [
        (60_000, 60_000, 59_999)
    ]


def test_raw_rows_go_in_from_bytes_and_from_a_generator(client: Any, table: str) -> None:
    client.raw_insert(table, insert_block=b'{"a":1,"s":"one"}\n', fmt="JSONEachRow")
    client.raw_insert(table, insert_block=(b'{"a":%d,"s":"x"}\n' % i for i in range(2, 6)), fmt="JSONEachRow")
    client.raw_insert(table, column_names=["s", "a"], insert_block=b"seven,7\n", fmt="CSV")
    assert client.query("SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)").result_rows == [
        ([1, 2, 3, 4, 5, 7],)
    ]


async def test_the_async_client_inserts_and_asks_many_things_at_once(database: str, table: str) -> None:
    async with await get_async_client(dsn=database, autogenerate_session_id=False) as client:
        inserts = [
            client.raw_insert(table, insert_block=b'{"a":%d,"s":"x"}\n' % i, fmt="JSONEachRow")
            for i in range(50)
        ]
        await asyncio.gather(*inserts)
        answers = await asyncio.gather(
            *(client.query(f"SELECT count() FROM t WHERE a < {i}") for i in range(50))
        )
    assert [answer.result_rows[0][0] for answer in answers] == list(range(50))


def test_a_large_result_is_streamed(client: Any) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(1000000)") as blocks:
        assert sum(row[0] for block in blocks for row in block) == sum(range(1_000_000))


def test_an_error_in_the_middle_of_a_streamed_result_reaches_the_client(client: Any) -> None:
    statement = "SELECT throwIf(number = 3000000, 'too far') FROM numbers(4000000)"
    with (
        pytest.raises(StreamFailureError, match="too far"),
        client.query_row_block_stream(statement, settings={"max_threads": 1}) as blocks,
    ):
        for _ in blocks:
            pass


def test_an_empty_result_keeps_the_names_of_its_columns(client: Any, table: str) -> None:
    result = client.query(
        "SELECT a, s AS a_long_name_of_more_than_127_letters_" + "x" * 100 + " FROM t WHERE a = 12345"
    )
    assert result.result_rows == []
    assert result.column_names == ("a", "a_long_name_of_more_than_127_letters_" + "x" * 100)


def test_parameters_are_bound_by_the_engine(client: Any) -> None:
    given = {"text": "it's\ta \\ trap\n", "numbers": [1, 2], "nothing": None}
    statement = "SELECT {text:String}, {numbers:Array(UInt8)}, {nothing:Nullable(String)}"
    assert client.query(statement, parameters=given).result_rows == [("it's\ta \\ trap\n", [1, 2], None)]


def test_a_session_keeps_its_temporary_tables_and_settings(database: str) -> None:
    with closing(get_client(dsn=database, session_id="mine")) as client:
        client.command("CREATE TEMPORARY TABLE kept (a UInt8)")
        client.command("SET max_threads = 3")
        client.command("INSERT INTO kept VALUES (7)")
        assert client.query("SELECT a FROM kept", settings={"max_threads": 1}).result_rows == [(7,)]
        assert client.command("SELECT value FROM system.settings WHERE name = 'max_threads'") == 3
    with closing(get_client(dsn=database, session_id="other")) as client, pytest.raises(DatabaseError):
        client.query("SELECT a FROM kept")


def test_eight_clients_insert_and_ask_at_once(database: str, table: str) -> None:
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
    assert value(database, "SELECT uniqExact(a) FROM t") == "80"


# What an insert promises.


def test_a_row_that_cannot_be_parsed_is_named_and_nothing_of_its_batch_is_written(
    database: str, table: str
) -> None:
    rows = b'{"a":1,"s":"x"}\n{"a":"zz","s":"y"}\n{"a":3,"s":"z"}\n'
    answer = ask(database, b"INSERT INTO t FORMAT JSONEachRow\n" + rows)
    assert (answer.status, answer.code) == (400, 27)
    assert "(while reading the value of key a): (at row 2)" in answer.body
    assert "/proc/self/fd" not in answer.body
    assert value(database, "SELECT count() FROM t") == "0"


def test_a_broken_constraint_is_an_error_and_not_a_success(database: str, table: str) -> None:
    answer = ask(database, b'INSERT INTO t FORMAT JSONEachRow {"a":1,"s":"x"}\n{"a":5000,"s":"y"}\n')
    assert answer.code == 469
    assert "is violated at row 2" in answer.body
    assert value(database, "SELECT count() FROM t") == "0"


def test_an_error_that_quotes_bytes_which_are_no_text_is_told_all_the_same(database: str) -> None:
    answer = ask(database, "SELECT toUUID(unhex('FFFE61'))")
    assert (answer.code, "uuid \\xff\\xfea" in answer.body) == (376, True)


def test_a_failing_view_is_an_error_although_the_rows_stay(database: str, table: str) -> None:
    assert (
        ask(database, "CREATE MATERIALIZED VIEW v ENGINE Memory AS SELECT throwIf(a = 13) AS x FROM t").status
        == 200
    )
    assert ask(database, b'INSERT INTO t FORMAT JSONEachRow {"a":13,"s":"x"}').code == 395


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t FORMAT CSV\n1,x\n2,y\n",
        "insert into t(s, a) format TSV\nx\t1\ny\t2\n",
        'INSERT INTO TABLE `t` (`a`, "s") SETTINGS input_format_allow_errors_num = 0 FORMAT JSONEachRow\n'
        '{"a":1,"s":"x"}{"a":2,"s":"y"}',
        "/* a note (with FORMAT) */ INSERT INTO t (a, s) FORMAT Values (1, 'x'), (2, 'FORMAT CSV')",
        "INSERT INTO t VALUES (1, 'x'), (2, 'y')",
        "INSERT INTO t SELECT number + 1, 'x' FROM numbers(2) FORMAT Null",
    ],
)
def test_inserts_are_understood_however_they_are_written(database: str, table: str, statement: str) -> None:
    answer = ask(database, statement)
    assert answer.status == 200, answer.body
    assert value(database, "SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)") == "[1,2]"


def test_the_statement_may_stand_in_the_url_and_the_rows_in_the_body(database: str, table: str) -> None:
    assert ask(database, b"1,x\n2,y\n", query="INSERT INTO t FORMAT CSV").body == ""
    assert value(database, "SELECT count() FROM t") == "2"


def test_bytes_that_are_not_utf_8_are_kept_as_they_are(database: str, table: str) -> None:
    assert ask(database, b"INSERT INTO t FORMAT TSV\n1\t\xff\xfe\n").body == ""
    assert value(database, "SELECT hex(s) FROM t") == "FFFE"
    assert ask(database, b"SELECT '\xff'").code == 36


def test_small_inserts_are_not_gathered_behind_the_answer(database: str, table: str) -> None:
    assert value(database, "SELECT value FROM system.settings WHERE name = 'async_insert'") == "0"


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_a_truncated_body_is_refused_and_nothing_of_it_written(
    database: str, table: str, encoding: str
) -> None:
    compress = {
        "lz4": lz4.frame.compress,
        "zstd": zstd.compress,
        "gzip": gzip.compress,
        "deflate": zlib.compress,
    }
    whole = compress[encoding](b'INSERT INTO t FORMAT JSONEachRow {"a":1,"s":"x"}\n')
    rest = compress[encoding](b'{"a":2,"s":"%s"}\n' % (b"y" * 500))
    answer = ask(database, whole + rest[:-5], h_Content_Encoding=encoding)
    assert (answer.status, answer.code) == (500, 271)
    assert value(database, "SELECT count() FROM t") == "0"
    assert ask(database, whole + rest, h_Content_Encoding=encoding).body == ""
    assert value(database, "SELECT count() FROM t") == "2"


def test_an_unknown_encoding_is_refused_by_name(database: str) -> None:
    answer = ask(database, b"SELECT 1", h_Content_Encoding="br")
    assert answer.status == 501
    assert "Content-Encoding br: it may be lz4, zstd, gzip, deflate" in answer.body


# Errors, users and what they may do.


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
        ("SELECT 1 INTO /* quietly */ OUTFILE '/tmp/postbacks-outfile'", 500, 358),
        ("INSERT INTO t FROM INFILE '/etc/hosts' FORMAT CSV", 404, 78),
    ],
)
def test_an_error_has_its_status_and_code(
    database: str, table: str, statement: str, status: int, code: int
) -> None:
    answer = ask(database, statement)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.body.startswith(f"Code: {code}. DB::Exception: ")
    assert value(database, "EXISTS TABLE t") == "1"
    assert not Path("/tmp/postbacks-outfile").exists()


def test_of_statements_that_do_not_parse_none_is_run(database: str, table: str) -> None:
    assert ask(database, "DROP TABLE t; selec 1").code != 0
    assert value(database, "EXISTS TABLE t") == "1"


def test_words_of_files_inside_texts_and_comments_are_only_words(database: str) -> None:
    assert value(database, "SELECT 'INTO OUTFILE' -- FROM INFILE") == "INTO OUTFILE"


def test_a_wrong_password_is_an_error_of_its_own(clickhouse: str) -> None:
    for answer in (
        ask(clickhouse, "SELECT 1", user="default", password="wrong"),
        ask(clickhouse, "SELECT 1", h_X_ClickHouse_User="nobody"),
        ask(clickhouse, "SELECT 1", h_Authorization="Basic ZGVmYXVsdDp3cm9uZw=="),
        ask(clickhouse, "SELECT 1", h_Authorization="Basic %%%"),
        ask(clickhouse, "SELECT 1", h_Authorization="Bearer token"),
    ):
        assert (answer.status, answer.code) == (403, 516)
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
def test_the_reader_reads_tables_and_nothing_else(database: str, table: str, statement: str) -> None:
    refused = ask(database, statement, user="reader")
    assert refused.code in (164, 358, 344, 497), refused.body
    assert value(database, "SELECT count() FROM t", user="reader", max_threads="1") == "0"
    assert not Path("/tmp/postbacks-outfile").exists()


def test_a_reader_cannot_lift_its_limits_by_a_parameter(database: str, table: str) -> None:
    for parameters in ({"readonly": "0"}, {"session_id": "s", "readonly": "0"}):
        assert ask(database, "DROP TABLE t", user="reader", **parameters).code == 164
        statement = "SELECT * FROM file('/etc/hosts', 'LineAsString')"
        assert ask(database, statement, user="reader", **parameters).code == 164


def test_a_get_changes_nothing_but_may_choose_settings(database: str, table: str) -> None:
    assert ask(database, "DROP TABLE t", method="GET").code == 164
    assert ask(database, "SELECT 7 SETTINGS max_threads = 1", method="GET").body == "7\n"
    assert ask(database, "SELECT 7", readonly="1").body == "7\n"
    assert ask(database, "DROP TABLE t", readonly="2").code == 164


def running_statements(url: str) -> str:
    return value(url, "SELECT groupArray(query) FROM system.processes")


def wait_until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_session_is_for_one_request_at_a_time(database: str) -> None:
    slow = threading.Thread(target=lambda: value(database, "SELECT sleep(1.5)", session_id="one"))
    slow.start()
    wait_until(lambda: "sleep(1.5)" in running_statements(database))
    refused = ask(database, "SELECT 1", session_id="one")
    assert (refused.status, refused.code) == (423, 373)
    slow.join()
    assert value(database, "SELECT 1", session_id="one") == "1"


def test_settings_and_databases_of_one_request_do_not_reach_the_next(database: str) -> None:
    assert value(database, "SELECT getSetting('max_block_size')", max_block_size="123") == "123"
    assert value(database, "SELECT getSetting('max_block_size')") != "123"


def test_what_curl_sees(clickhouse: str) -> None:
    assert ask(clickhouse).body == "Ok.\n"
    answer = ask(clickhouse, "SELECT 1 AS one FORMAT JSON", method="GET")
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.body)["data"] == [{"one": 1}]
    assert ask(clickhouse, "SELECT number FROM numbers(3)").body == "0\n1\n2\n"
    assert ask(clickhouse, "SELECT 'x' AS a", default_format="CSVWithNames").body == '"a"\n"x"\n'
    assert (
        ask(
            clickhouse,
            "SELECT count() FROM numbers(5000) WHERE NOT ignore(repeat('x', 9))" + " " * 20_000,
            "GET",
        ).body
        == "5000\n"
    )


# The engine underneath.


def test_a_refreshable_view_is_computed_anew(database: str, table: str) -> None:
    def refreshed() -> str:
        assert ask(database, "SYSTEM REFRESH VIEW summary").body == ""
        assert ask(database, "SYSTEM WAIT VIEW summary").body == ""
        return value(database, "SELECT n FROM summary")

    create = (
        "CREATE MATERIALIZED VIEW summary REFRESH EVERY 1 MINUTE (n UInt64) ENGINE MergeTree ORDER BY n AS "
    )
    assert ask(database, create + "SELECT count() AS n FROM t").body == ""
    assert refreshed() == "0"
    assert ask(database, "INSERT INTO t VALUES (1, 'x')").body == ""
    assert refreshed() == "1"


def test_every_acknowledged_row_is_there_after_a_kill(tmp_path: Path) -> None:
    arguments = ("embedded", "clickhouse", "--port", "0", "--data", tmp_path)
    acknowledged: list[int] = []
    with running(*arguments) as process:
        url = process.line()
        assert ask(url, "CREATE TABLE kept (a UInt32) ENGINE MergeTree ORDER BY a").body == ""

        def write(first: int) -> None:
            with suppress(OSError, http.client.HTTPException):
                for batch in range(first, 1_000_000, 4):
                    rows = range(batch * 10, batch * 10 + 10)
                    data = "".join(f"{row}\n" for row in rows)
                    assert ask(url, f"INSERT INTO kept FORMAT TSV\n{data}").body == ""
                    acknowledged.extend(rows)

        writers = [threading.Thread(target=write, args=(first,)) for first in range(4)]
        for writer in writers:
            writer.start()
        wait_until(lambda: len(acknowledged) >= 500)
        process.kill()
        for writer in writers:
            writer.join()
    with running(*arguments) as process:
        kept = {int(row) for row in ask(process.line(), "SELECT a FROM kept").body.split()}
    assert set(acknowledged) <= kept


def test_sigterm_ends_it_soon_even_in_the_middle_of_a_long_statement(tmp_path: Path) -> None:
    with running("embedded", "clickhouse", "--port", "0", "--data", tmp_path) as process:
        url = process.line()
        answers: list[Answer] = []
        statement = "SELECT sum(sipHash64(number)) FROM numbers(1000000000000) FORMAT JSON"
        asking = threading.Thread(target=lambda: answers.append(ask(url, statement)))
        asking.start()
        wait_until(lambda: "1000000000000" in running_statements(url))
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 8
        asking.join()
    assert [answer.code for answer in answers] == [394]


def test_a_folder_in_use_is_refused_with_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("embedded", "clickhouse", "--port", "0", "--data", tmp_path)
    with running(*arguments) as first:
        first.line()
        with running(*arguments) as second:
            assert second.popen.wait(60) == 2
    assert f"{tmp_path}/clickhouse cannot be opened; does another process use it?" in capfd.readouterr().err
