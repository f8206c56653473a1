"""`postbacks contacts`: lists and exports the numbers that have opted out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

import click
from rich.console import Console
from rich.table import Table

from cli.contacts_import import import_contacts
from cli.options import ACCOUNT
from operations.contact_list import ListedContact, list_contacts, write_csv
from operations.rows import connect
from operations.timeline import printable, readable_time
from runtime.clickhouse.errors import QueryFailed
from runtime.verdict import Judgement, Policy


@click.group(invoke_without_command=True)
@click.option("--opted-out", is_flag=True, help="List the numbers that have opted out.")
@click.option("--suspected", is_flag=True, help="List the numbers that are suspected to have opted out.")
@click.option("--account", type=ACCOUNT, default="", help="Only of this account.")
@click.option(
    "--csv",
    "csv_file",
    type=click.File("w", encoding="utf-8", lazy=True),
    help="Write a CSV file that `postbacks contacts import` reads; - is standard output.",
)
@click.pass_context
def contacts(
    context: click.Context, opted_out: bool, suspected: bool, account: str, csv_file: TextIO | None
) -> None:
    """List the numbers that have opted out; import others.

    Prints each number with the time and the words of the opt-out that decides, and the number of yours that
    it was sent to. The result is a table on a terminal, and otherwise tab-separated lines after a line of
    column names. Times are UTC.

    \b
    Example:
      postbacks contacts --opted-out
      postbacks contacts --suspected --account acme
      postbacks contacts --opted-out --csv opted-out.csv
      postbacks contacts import opted-out.csv --source old-system

    \b
    Settings:
      POSTBACKS_CLICKHOUSE     URL of ClickHouse, with user and password
      POSTBACKS_OPT_OUT_SCOPE  what an opt-out is about: number or account
      POSTBACKS_YES_OPTS_IN    whether the reply YES opts in again

    \b
    Exit status:
      0  listed, or imported
      1  ClickHouse, or Kafka for an import, does not answer
      2  an option, a row of the file or a setting is wrong
    """
    if context.invoked_subcommand:
        if opted_out or suspected or account or csv_file:
            raise click.UsageError(f"{context.invoked_subcommand} takes its options after its name")
        return
    judgements: list[Judgement] = []
    judgements += ["opted_out"] if opted_out else []
    judgements += ["suspected"] if suspected else []
    if not judgements:
        raise click.UsageError("--opted-out or --suspected is required")
    settings = context.obj()
    policy = Policy(settings.opt_out_scope, settings.yes_opts_in)
    try:
        found = list_contacts(connect(settings.clickhouse), policy, judgements, account)
    except QueryFailed as error:
        raise click.ClickException(str(error)) from None
    if csv_file:
        write_csv(found, csv_file)
    else:
        _print(found)


def _print(found: Sequence[ListedContact]) -> None:
    columns = ("number", "verdict", "since", "own number", "account", "words")
    console = Console(highlight=False, markup=False)
    rows = (
        (
            each.number,
            each.verdict,
            readable_time(each.since)[: len("2026-11-28 12:00:00")],
            each.own_number,
            each.account,
            printable(each.words),
        )
        for each in found
    )
    if not console.is_terminal:
        click.echo("\t".join(columns))
        for row in rows:
            click.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name not in ("account", "words"), overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


contacts.add_command(import_contacts)
