"""`postbacks sql`: runs a query in ClickHouse and prints the result."""

from __future__ import annotations

import sys

import click

from cli.options import SettingsLoader
from runtime.clickhouse.client import Reader
from runtime.clickhouse.errors import QueryFailed

#: Formats for a terminal (the Mono block has all rows in one frame), for a pipe, and for --json.
TERMINAL, PIPE, JSON = "PrettyCompactMonoBlock", "TSVWithNames", "JSONEachRow"


@click.command()
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each row.")
@click.pass_obj
def sql(load: SettingsLoader, query: str, as_json: bool) -> None:
    """Run a read-only SQL query in ClickHouse.

    The result is a table on a terminal, and otherwise tab-separated lines after a line of column names. A
    FORMAT clause in the query overrides this. If QUERY is a dash (-), it is read from standard input.

    \b
    Example:
      postbacks sql "SELECT status, count() FROM messages GROUP BY status"
      postbacks sql "SHOW TABLES"
      postbacks sql "DESCRIBE messages"
      postbacks sql - < report.sql > report.tsv

    \b
    Tables and views:
      messages   a row for each message: status, times, attempts, receipts
      events     a row for each distinct event that the provider reported
      postbacks  a row for each postback received
      rejected   requests that were not postbacks, with the reason
      contacts   a row for each number that has opted out or in
      texted_after_stop(scope = 'account', yes = 0)
                 messages sent although the recipient had opted out
      texted_in_quiet_hours
                 messages sent before 8 or after 21 o'clock

    \b
    Settings:
      POSTBACKS_CLICKHOUSE  URL of ClickHouse, with user and password

    \b
    Exit status:
      0  success
      1  ClickHouse refused the query, or does not answer
      2  a setting or an option is wrong
    """
    reader = Reader(load().clickhouse)
    default_format = TERMINAL if sys.stdout.isatty() else PIPE
    if query == "-":
        query = sys.stdin.read()
    try:
        for chunk in reader.query(query, JSON if as_json else default_format):
            sys.stdout.buffer.write(chunk)
    except QueryFailed as error:
        raise click.ClickException(str(error)) from None
    sys.stdout.buffer.flush()
