"""`postbacks contact`: whether a number may be written to, and what it said, from ClickHouse."""

from __future__ import annotations

from typing import Any

import click
from msgspec import convert, json
from rich.console import Console

from cli.message import CONTRACT_JSON
from cli.options import NUMBER, SettingsLoader
from operations.contact import render_contact, verdicts_of
from runtime.clickhouse.client import Reader
from runtime.clickhouse.errors import QueryFailed
from runtime.verdict import Policy
from streams.contact import Contact

QUERY = "SELECT * FROM contacts WHERE number = {number:String} ORDER BY account"


@click.command()
@click.argument("number", type=NUMBER)
@click.option("--from", "sender", type=NUMBER, default="", help="Only the verdict for this number of yours.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each account.")
@click.pass_obj
def contact(load: SettingsLoader, number: str, sender: str, as_json: bool) -> None:
    """Show whether a number has opted out, and all it said about it.

    NUMBER may be written with +, spaces, dots, dashes and parentheses. The output has a verdict for each of
    your numbers that it has written to, and for all of them: ok, suspected (to have opted out) or opted_out.
    In order of arrival, it has every opt-out and opt-in with its words and its source: a reply, a send that
    the provider refused, or an import. Times are UTC. If several accounts know the number, each is shown.

    \b
    Example:
      postbacks contact 17575550100
      postbacks contact "+1 (757) 555-0100" --from 74121 --json

    \b
    Settings:
      POSTBACKS_CLICKHOUSE     URL of ClickHouse, with user and password
      POSTBACKS_OPT_OUT_SCOPE  what an opt-out is about: number or account
      POSTBACKS_YES_OPTS_IN    whether the reply YES opts in again

    \b
    Exit status:
      0  found, whatever the verdict
      1  the number has neither opted out nor in, or ClickHouse does not answer
      2  NUMBER is not a phone number, or a setting is wrong
    """
    settings = load()
    policy = Policy(settings.opt_out_scope, settings.yes_opts_in)
    reader = Reader(settings.clickhouse, CONTRACT_JSON)
    try:
        rows = b"".join(reader.query(QUERY, "JSONEachRow", {"number": number})).splitlines()
    except QueryFailed as error:
        raise click.ClickException(str(error)) from None
    if not rows:
        raise click.ClickException(f"{number} has neither opted out nor in")
    console = Console(highlight=False, markup=False)
    for row in rows:
        found = json.decode(row)
        known = convert(found, Contact)
        if as_json:
            click.echo(json.encode(found | {"verdicts": _as_json(known, policy, sender)}))
        else:
            console.print(render_contact(known, policy, sender))


def _as_json(known: Contact, policy: Policy, sender: str) -> list[dict[str, Any]]:
    """For each of our numbers (empty: any) the verdict, and the event that decides it."""
    return [
        {
            "from": own,
            "verdict": found.verdict,
            "since": found.since,
            "words": found.words,
            "deciding_number": found.own_number,
        }
        for own, found in verdicts_of(known, policy, sender)
    ]
