"""`postbacks respond`: automatic responses."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.options import TIME, SettingsLoader
from cli.respond_output import print_check
from gateway.postback import Response, format_time
from runtime.phone_number import canonical
from runtime.process import DONE, FAILED
from runtime.verdict import Policy
from streams.respond.decide import RespondOptions
from streams.respond.rules import Rules
from streams.respond.rules_file import read_rules

#: Of a response that is only checked.
NO_ID = "00000000-0000-0000-0000-000000000001"


@click.group()
def respond() -> None:
    """Answer responses of people automatically.

    Rules in a TOML file say which response gets which answer: docs/auto-responses.md.

    \b
    Example:
      postbacks respond check rules.toml "HOURS" --from 17575449511

    \b
    Exit status:
      0  success
      1  failed, or the response would not be answered
      2  the rules, an option or a setting is wrong
    """


@respond.command()
@click.argument("rules", metavar="RULES", type=click.Path(path_type=Path))
@click.argument("text")
@click.option("--from", "from_number", metavar="NUMBER", required=True, help="The sender's number.")
@click.option(
    "--to", "to_number", metavar="NUMBER", help="Your number. [default: the account's, if it has only one]"
)
@click.option(
    "--reply/--inbound",
    "is_reply",
    default=True,
    show_default=True,
    help="Whether it is a reply to a message of yours, or came by itself.",
)
@click.option("--at", type=TIME, metavar="TIME", help="When it is received. [default: now]")
@click.option("--account", help="The account. [default: that of the rules, if they have only one]")
@click.option("--reference", default="", help="ReferenceID of the message that it replies to.")
@click.pass_obj
def check(
    load: SettingsLoader,
    rules: Path,
    text: str,
    from_number: str,
    to_number: str | None,
    is_reply: bool,
    at: datetime | None,
    account: str | None,
    reference: str,
) -> None:
    """Check rules: which one would answer a text, and why, or why not.

    RULES is a TOML file, and TEXT what the person writes. All problems of the file are printed, with their
    lines. Nothing is sent; what the sender wrote before, and had as answers, is not considered.

    \b
    Example:
      postbacks respond check rules.toml "Hours?" --from 17575449511
      postbacks respond check rules.toml "hello" --from 17575449511 \\
        --to 17575449510 --inbound --at 2026-11-28T23:00-05:00

    \b
    Settings:
      POSTBACKS_PARTITIONS       over which daily caps are divided
      POSTBACKS_OPT_OUT_WORDS    further words that opt out
      POSTBACKS_OPT_OUT_SCOPE    what an opt-out is about
      POSTBACKS_YES_OPTS_IN      whether YES opts in

    \b
    Exit status:
      0  a rule would answer
      1  none would
      2  the rules, an option or a setting is wrong
    """
    settings = load()
    words = settings.opt_out_words.split(",") if settings.opt_out_words else []
    found = read_rules(rules, settings.partitions, words)
    account = account or _only_account(found)
    now = at or datetime.now(UTC)
    response = Response(
        event_id="check",
        message_id=NO_ID,
        account=account,
        reference_id=reference,
        from_number=_number("--from", from_number),
        to_number=_number("--to", to_number) if to_number else _only_number(found, account),
        occurred_at=None,
        received_at=format_time(now),
        client_ip="",
        query="",
        body="",
        extra={},
        reply_id=NO_ID,
        matched=is_reply,
        text=text,
    )
    options = RespondOptions(Policy(settings.opt_out_scope, settings.yes_opts_in), words, settings.partitions)
    sys.exit(DONE if print_check(response, found, now, options) else FAILED)


def _number(option: str, value: str) -> str:
    number = canonical(value)
    if not number:
        raise click.UsageError(f"{option} {value!r}: must be a phone number, such as 17575449511")
    return number


def _only_account(rules: Rules) -> str:
    accounts = sorted({rule.account for rule in rules.rules})
    if len(accounts) > 1:
        raise click.UsageError(f"--account is required: the rules are for {', '.join(accounts)}")
    return accounts[0]


def _only_number(rules: Rules, account: str) -> str:
    numbers = sorted(rules.own_numbers.get(account, ()))
    if not numbers:
        raise click.UsageError(f"--account {account}: the rules have no number of this account")
    if len(numbers) > 1:
        raise click.UsageError(f"--to is required: {account} has the numbers {', '.join(numbers)}")
    return numbers[0]
