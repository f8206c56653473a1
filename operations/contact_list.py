"""The numbers that have opted out, or are suspected to have, from ClickHouse."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable
from typing import TextIO

from msgspec import Struct

from gateway.postback import Time
from operations.contact_import import COLUMNS
from operations.rows import Query, read_rows
from runtime.clickhouse.sql import quote
from runtime.verdict import Judgement, Policy


class ListedContact(Struct, kw_only=True, frozen=True):
    """A number, and the event that decides; a number has several if they differ by our numbers."""

    account: str
    number: str
    verdict: Judgement
    since: Time
    words: str
    #: Ours, that the event was about; empty if unknown.
    own_number: str


def list_contacts(
    query: Query, policy: Policy, judgements: Collection[Judgement], account: str = ""
) -> list[ListedContact]:
    """The contacts with one of these verdicts, ordered by number.

    Args:
        account: only of this one.

    Raises:
        QueryFailed: with ClickHouse's own text.
    """
    where = f"AND account = {quote(account)}" if account else ""
    return read_rows(
        query,
        ListedContact,
        # For any of our numbers decides what decides for one of them, too, so DISTINCT leaves one of both.
        "SELECT DISTINCT account, number, verdict, since, words, deciding_number AS own_number "
        f"FROM contact_verdicts(scope = {quote(policy.scope)}, yes = {int(policy.yes_opts_in)}) "
        f"WHERE verdict IN ({', '.join(map(quote, judgements))}) {where} "
        "ORDER BY account, number, own_number, since",
    )


def write_csv(contacts: Iterable[ListedContact], file: TextIO) -> None:
    """Write contacts as a CSV file that `read_import` reads."""
    rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for contact in contacts:
        rows.writerow(
            {
                "number": contact.number,
                "own_number": contact.own_number,
                "at": contact.since,
                "words": contact.words,
                "signal": contact.verdict,
                "account": contact.account,
            }
        )
