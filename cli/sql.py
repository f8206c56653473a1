"""`postbacks sql`: a question to ClickHouse, and its answer as people or programs like to read it."""

from __future__ import annotations

import sys

import click

from cli.command import Load
from runtime.clickhouse.query import QueryFailed, run_query

#: Whole at once, so that all rows are in one frame.
FOR_PEOPLE, FOR_PIPES, FOR_PROGRAMS = "PrettyCompactMonoBlock", "TSVWithNames", "JSONEachRow"


@click.command()
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each row.")
@click.pass_obj
def sql(load: Load, query: str, as_json: bool) -> None:
    """Ask ClickHouse a question in SQL; nothing can be changed with it.

    On a terminal the answer is a table, elsewhere tab-separated lines with the columns' names first. A
    FORMAT at the end of the query decides otherwise. A single dash as the query reads it from standard input.

    \b
    Example:
      postbacks sql "SELECT status, count() FROM messages GROUP BY status"
      postbacks sql "SHOW TABLES"
      postbacks sql "SELECT name, type, comment FROM system.columns WHERE table = 'messages'"
      postbacks sql - < report.sql > report.tsv

    \b
    What there is to ask:
      messages    one row for each message: its status, times, attempts, receipts, replies
      events      one row for each thing that the provider said, however often it said it
      postbacks   one row for each postback that came
      rejected    what was no postback, and why

    \b
    Settings:
      POSTBACKS_CLICKHOUSE  where ClickHouse is, and as whom to ask

    \b
    Exit status:
      0  answered
      1  ClickHouse refused the query, or does not answer
      2  a setting or an option is wrong
    """
    url = load().clickhouse.get_secret_value()
    undecided = FOR_PEOPLE if sys.stdout.isatty() else FOR_PIPES
    if query == "-":
        query = sys.stdin.read()
    try:
        for piece in run_query(url, query, FOR_PROGRAMS if as_json else undecided):
            sys.stdout.buffer.write(piece)
    except QueryFailed as error:
        raise click.ClickException(str(error)) from None
    sys.stdout.buffer.flush()
