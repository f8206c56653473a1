"""`postbacks respond`: automatic responses."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.options import TIME, SettingsLoader
from cli.respond_output import print_check, print_unknown
from cli.run import exec_module
from gateway.postback import Response, format_time
from operations.auto_responses import list_unknown
from operations.rows import connect
from runtime.clickhouse.errors import QueryFailed
from runtime.phone_number import read_written
from runtime.process import DONE, FAILED
from runtime.verdict import Policy
from streams.respond.decide import RespondOptions
from streams.respond.rules import Rules
from streams.respond.rules_file import read_rules

#: Of a response that is only checked.
NO_ID = "00000000-0000-0000-0000-000000000001"


@click.group(invoke_without_command=True)
@click.option("--unknown", is_flag=True, help="List answers that may have been sent or not.")
@click.option(
    "--since", type=TIME, help="With --unknown: only since a time (UTC), or so long ago: 30m, 6h, 7d."
)
@click.pass_context
def respond(context: click.Context, unknown: bool, since: datetime | None) -> None:
    """Answer responses of people automatically.

    Rules in a TOML file say which response gets which answer: docs/auto-responses.md. `run` is the process
    that does it.

    --unknown lists the answers whose process was killed, or got no answer from the provider, while it sent
    them. They are never sent again by themselves. If the provider sends postbacks with the reference, it has
    the message. The list is a table on a terminal, and otherwise tab-separated lines after a line of column
    names. Times are UTC.

    \b
    Example:
      postbacks respond check rules.toml "HOURS" --from 17575449511
      POSTBACKS_RESPOND=dry-run POSTBACKS_RESPOND_RULES=rules.toml \\
        postbacks respond run
      postbacks respond --unknown --since 7d

    \b
    Settings of --unknown:
      POSTBACKS_CLICKHOUSE  URL of ClickHouse, with user and password

    \b
    Exit status:
      0  success
      1  failed, or the response would not be answered
      2  the rules, an option or a setting is wrong
    """
    if context.invoked_subcommand:
        if unknown or since:
            raise click.UsageError("--unknown is for itself, without a command")
        return
    if not unknown:
        raise click.UsageError("--unknown or a command is required: check, run")
    try:
        print_unknown(list_unknown(connect(context.obj().clickhouse), since))
    except QueryFailed as error:
        raise click.ClickException(str(error)) from None


@respond.command()
def run() -> None:
    """Answer responses by the rules, until it is stopped.

    Reads the topic postbacks.response, and appends each decision to `auto_responses` before it sends an
    answer. Several processes share the partitions; all must have the same rules. Nothing is sent while
    streams is behind, as an opt-out may be among what it has not read. SIGTERM or Ctrl-C shuts down
    gracefully: answers in flight are completed.

    \b
    Example:
      POSTBACKS_RESPOND=dry-run POSTBACKS_RESPOND_RULES=rules.toml \\
        postbacks respond run

    \b
    Settings (more in `postbacks settings`):
      POSTBACKS_RESPOND              dry-run decides only; on sends, too
      POSTBACKS_RESPOND_RULES        the file with the rules
      POSTBACKS_KAFKA                Kafka's brokers
      POSTBACKS_LICENSE_KEY          licence key of the account
      POSTBACKS_PROVIDER             URL of the provider's API
      POSTBACKS_STATUS_POSTBACK_URL  StatusPostBackURL of the answers
      POSTBACKS_SUBMISSION_URL       the gateway, which stores the
                                     provider's answers
      POSTBACKS_OPT_OUT_WORDS, POSTBACKS_OPT_OUT_SCOPE, POSTBACKS_YES_OPTS_IN
                                     as those of the other processes
      POSTBACKS_OPS                  where to serve /livez, /readyz and
                                     /metrics

    \b
    Exit status:
      0  shut down gracefully
      1  an error, which is logged
      2  the rules, a setting or a topic is wrong; the message says which
    """
    exec_module("streams.responder")


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
    words = settings.listed_opt_out_words
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
    number = read_written(value)
    if number is None:
        raise click.UsageError(f"{option} {value!r}: must be a phone number of 5 to 15 digits")
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
