"""`postbacks message`: a message and its timeline, from ClickHouse."""

from __future__ import annotations

import click
from msgspec import convert, json
from pydantic import SecretStr
from rich.console import Console

from cli.options import SettingsLoader
from gateway.parsing.values import read_guid
from gateway.postback import Guid
from operations.auto_responses import list_linked
from operations.linked_messages import find_chain
from operations.rows import Query, connect
from operations.timeline import render
from runtime.clickhouse.client import Reader
from runtime.clickhouse.errors import QueryFailed
from streams.message import VERSION, Message

QUERY = "SELECT * FROM messages WHERE message_id = {id:UUID} ORDER BY account"
#: Rows in the JSON of the contract: its format of times, facts as objects.
CONTRACT_JSON = {
    "date_time_output_format": "iso",
    "output_format_json_named_tuples_as_objects": "1",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_validate_utf8": "1",
}


@click.command()
@click.argument("message_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each account.")
@click.pass_obj
def message(load: SettingsLoader, message_id: str, as_json: bool) -> None:
    """Show a message and its timeline.

    ID is its MessageID, a GUID in any notation. The output has the message's status, its numbers in full,
    and in order of arrival its attempts, receipts (with the meaning of their codes) and replies; and the
    automatic responses to it, or why there is none, or the message that it answers. If the provider retried
    from another number, it says which message is a retry of which, and the end result. Times are UTC and are
    those of arrival; the provider's own time is added where it gives one. If several accounts have a message
    with this id, each is shown.

    \b
    Example:
      postbacks message 9a35e913-ded0-7574-4642-5f60c550c706
      postbacks message {9A35E913DED0757446425F60C550C706} --json

    \b
    Settings:
      POSTBACKS_CLICKHOUSE  URL of ClickHouse, with user and password

    \b
    Exit status:
      0  found
      1  no message has this id, or ClickHouse does not answer
      2  ID is not a GUID, or a setting is wrong
    """
    guid = read_guid(message_id)
    if guid is None:
        raise click.BadParameter(f"{message_id!r} is not a GUID", param_hint="ID")
    try:
        clickhouse = load().clickhouse
        rows = _query(clickhouse, guid)
        if not rows:
            raise click.ClickException(f"No message has the id {guid}")
        if as_json:
            for row in rows:
                click.echo(row)
        else:
            _print_timelines(connect(clickhouse), list(map(_decode, rows)), guid)
    except QueryFailed as error:
        raise click.ClickException(str(error)) from None


def _print_timelines(query: Query, messages: list[Message], guid: Guid) -> None:
    responses = list_linked(query, guid)
    console = Console(highlight=False)
    for each in messages:
        for line in render(each, responses, find_chain(query, each.account, guid)):
            console.print(line, soft_wrap=True)


def _query(clickhouse: SecretStr, guid: Guid) -> list[bytes]:
    reader = Reader(clickhouse, CONTRACT_JSON)
    return b"".join(reader.query(QUERY, "JSONEachRow", {"id": guid})).splitlines()


def _decode(row: bytes) -> Message:
    return convert({"version": VERSION, **json.decode(row)}, Message)
