"""`postbacks message`: all that is known of one MessageID, from ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator

import click
from msgspec import convert, json
from rich.console import Console

from cli.command import Load
from gateway.parsing.fields import read_guid
from operations.timeline import render
from runtime.clickhouse.query import QueryFailed, run_query
from streams.message import VERSION, Message

QUERY = "SELECT * FROM messages WHERE message_id = {id:UUID} ORDER BY account"
#: Rows as the JSON of the contract: times in its form, facts as objects.
AS_JSON = {
    "date_time_output_format": "iso",
    "output_format_json_named_tuples_as_objects": "1",
    "output_format_json_quote_64bit_integers": "0",
}


@click.command()
@click.argument("message_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each account that has it.")
@click.pass_obj
def message(load: Load, message_id: str, as_json: bool) -> None:
    """Show what became of one message, step by step.

    ID is its MessageID, in any spelling of a GUID. Shown are its status, its numbers in full, and everything
    that was heard of it in order: attempts, receipts with what their codes mean, replies. Times are UTC, and
    those at which it got here; where the provider's own clock says something else it stands beside. When
    several accounts have a message of that id, each is shown.

    \b
    Example:
      postbacks message 9a35e913-ded0-7574-4642-5f60c550c706
      postbacks message {9A35E913DED0757446425F60C550C706} --json

    \b
    Settings:
      POSTBACKS_CLICKHOUSE  where ClickHouse is, and as whom to ask

    \b
    Exit status:
      0  shown
      1  no message has this id, or ClickHouse does not answer
      2  a setting is wrong, or ID is no GUID
    """
    guid = read_guid(message_id)
    if guid is None:
        raise click.BadParameter(f"{message_id!r} is no GUID", param_hint="ID")
    try:
        rows = list(_rows(load().clickhouse.get_secret_value(), guid))
    except QueryFailed as error:
        raise click.ClickException(str(error)) from None
    if not rows:
        raise click.ClickException(f"No message has the id {guid}, up to now")
    console = Console(highlight=False)
    for row in rows:
        if as_json:
            click.echo(row)
        else:
            for line in render(_message(row)):
                console.print(line, soft_wrap=True)


def _rows(url: str, guid: str) -> Iterator[bytes]:
    return iter(b"".join(run_query(url, QUERY, "JSONEachRow", {"id": guid}, AS_JSON)).splitlines())


def _message(row: bytes) -> Message:
    return convert({"version": VERSION, **json.decode(row)}, Message)
