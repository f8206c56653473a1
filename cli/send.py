"""`postbacks send`: sends messages through the provider's API, each at most once."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from uuid import uuid4

import click
from msgspec.structs import asdict
from pydantic import SecretStr

from cli.csv_file import read_file, usage_error
from cli.options import RATE, SettingsLoader
from cli.progress import ProgressBars
from cli.send_output import Finished, print_dry_run, print_preview, print_report
from cli.send_recipients import Recipients, preview
from cli.up.welcome import local_url
from runtime.errors import InvalidSetting
from runtime.logging import configure_logs
from runtime.process import DONE, FAILED, stop_on_signals
from runtime.settings import Settings
from sending.client import ProviderClient
from sending.intent_log import IntentLog, read_log
from sending.intents import IntentState, RunOptions, SendStatus
from sending.rows import InvalidRows, RowDefaults, SendRow, new_row, read_csv, read_schedule
from sending.run import SendRun, due_rows
from sending.sms import OutgoingSms
from sending.submissions import SubmissionPoster

#: Seconds to wait at the end while the gateway acknowledges nothing.
DRAIN_TIMEOUT = 10.0
#: Problems of a CSV file that are printed.
MAX_PROBLEMS = 20


@click.command()
@click.argument("text", required=False, default="")
@click.option("--to", multiple=True, metavar="NUMBER", help="The recipient's number; may be repeated.")
@click.option("--from", "from_number", metavar="NUMBER", default="", help="A number of your account.")
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send the rows of a file with the columns to, text, from, reference, at.",
)
@click.option("--reference", default="", help="ReferenceID, which every postback has. [default: a new one]")
@click.option(
    "--at",
    metavar="TIME",
    default="",
    help="When the provider is to send it: UTC, or with a zone. [default: now]",
)
@click.option("--rate", type=RATE, metavar="RATE", default=10.0, show_default=True, help="Calls per second.")
@click.option("--dry-run", is_flag=True, help="Send nothing; print segments and cost units.")
@click.option(
    "--again",
    type=click.Choice(["unknown", "refused"]),
    multiple=True,
    help="With --csv: send rows again that are unknown (they may arrive twice) or were refused.",
)
@click.option(
    "--include-suspected",
    is_flag=True,
    help="Also send to numbers that are suspected to have opted out.",
)
@click.option(
    "--unchecked",
    is_flag=True,
    help="Dangerous: do not ask the gateway; also send to numbers that have opted out.",
)
@click.option(
    "--log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The intent log. [default: FILE.csv.sends, or send.log in POSTBACKS_DATA]",
)
@click.pass_obj
def send(
    load: SettingsLoader,
    text: str,
    to: tuple[str, ...],
    from_number: str,
    csv_file: Path | None,
    reference: str,
    at: str,
    rate: float,
    dry_run: bool,
    again: tuple[str, ...],
    include_suspected: bool,
    unchecked: bool,
    log: Path | None,
) -> None:
    """Send text messages, each at most once, none after STOP.

    With --csv, a run may be killed and repeated: the intent log remembers what was sent. Before each call it
    gets the intent, synced to disk, and after it the result. A row with an intent and without a result is
    unknown: it is listed, and sent again only with --again unknown. Rows may be added to the file; a changed
    row is another message.

    Right before each call the gateway is asked whether the recipient has opted out. Such numbers are skipped
    and listed; those that are only suspected to have (`please stop`) likewise, unless --include-suspected is
    given. A number about which the gateway does not answer is not sent to. A later run asks again.

    The provider's answers are posted to the gateway as submissions, and stay in the log until the gateway
    acknowledges them. The next run posts those that are left.

    \b
    Example:
      postbacks send --from 74121 --to 17575449510 "Your table is ready"
      postbacks send --csv reminders.csv --dry-run
      postbacks send --csv numbers.csv --rate 50 "We are open again"

    \b
    Settings:
      POSTBACKS_LICENSE_KEY          licence key of the account
      POSTBACKS_PROVIDER             URL of the provider's API
      POSTBACKS_STATUS_POSTBACK_URL  where the provider posts postbacks
      POSTBACKS_SUBMISSION_URL       the gateway's /submission/TOKEN
      POSTBACKS_CONTACT_URL          the gateway's /contact
      POSTBACKS_READ_TOKEN           token with which it is asked
      POSTBACKS_DATA                 folder of send.log

    \b
    Exit status:
      0  every message is queued or was skipped, as its recipient has opted out
         or is suspected to have, and the gateway has every answer
      1  a message was refused, is unknown or was not sent, or an answer is
         left in the log
      2  an option, a row of the file, a setting or the log is wrong; nothing
         was sent
    """
    settings = load()
    configure_logs("error", settings.log_format)
    if bool(to) == bool(csv_file):
        raise click.UsageError("either --to or --csv is required")
    if again and not csv_file:
        raise click.UsageError("--again is only for --csv")
    if unchecked and include_suspected:
        raise click.UsageError("--unchecked does not know which numbers are suspected")
    status_url = settings.status_postback_url.get_secret_value() if settings.status_postback_url else ""
    try:
        defaults = RowDefaults(text, from_number, reference, read_schedule(at), status_url)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    rows = _read_file(csv_file, defaults) if csv_file else _read_options(to, defaults)
    path = log or (csv_file.with_name(f"{csv_file.name}.sends") if csv_file else settings.data / "send.log")
    options = RunOptions(text, from_number, reference, at)
    statuses = [SendStatus(status) for status in again]
    if dry_run:
        before = read_log(path) if csv_file else IntentState()
        due = due_rows(rows, before, statuses)
        print_dry_run(rows, due, before)
        if not unchecked:
            print_preview(due, asyncio.run(preview(due, settings, include_suspected)))
        return
    client = _client(settings)
    recipients = Recipients(None, False) if unchecked else Recipients.of(settings, include_suspected)
    if unchecked:
        click.echo("Warning: recipients are not checked; some may have opted out", err=True)
    with IntentLog(path) as opened:
        if csv_file:
            _check_options(opened, options)
        due = due_rows(rows, opened.state, statuses)
        url = _submission_url(settings)
        finished = asyncio.run(_send(due, opened, options, client, recipients, url, rate))
        is_complete = print_report(rows, finished, opened)
        if not csv_file and not opened.state.pending:
            opened.remove()  # what is in it has been printed, and is not needed any more
    sys.exit(DONE if is_complete else FAILED)


async def _send(
    due: Sequence[SendRow],
    log: IntentLog,
    options: RunOptions,
    client: ProviderClient,
    recipients: Recipients,
    url: SecretStr,
    rate: float,
) -> Finished:
    stop = stop_on_signals(lambda: os._exit(FAILED))
    if log.state.options is None:
        await log.append(options)
    async with client, recipients.open_check(stop) as check, SubmissionPoster(url, log) as poster:
        run = SendRun(client, log, poster, rate, stop, check=check)
        with ProgressBars() as progress:
            with progress.step("Sending", len(due)) if len(due) > 1 else nullcontext() as advance:
                await run.run(due, (lambda: advance(1)) if advance else lambda: None)
            with progress.step("Posting answers to the gateway"):
                await poster.drain(DRAIN_TIMEOUT)
        if stop.is_set() and not run.report.ended:
            run.report.ended = "interrupted"
        return Finished(run.report, poster.problem, poster.rejected)


def _read_options(numbers: Sequence[str], defaults: RowDefaults) -> list[SendRow]:
    try:
        messages = [
            OutgoingSms(
                number,
                defaults.text,
                defaults.from_number,
                defaults.reference_id,
                defaults.scheduled_for,
                defaults.status_postback_url,
            )
            for number in numbers
        ]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    unique = {message.to_number: message for message in messages}
    return [new_row(uuid4().hex[:20], message) for message in unique.values()]


def _read_file(path: Path, defaults: RowDefaults) -> list[SendRow]:
    try:
        return read_file(path, lambda lines: read_csv(lines, defaults))
    except InvalidRows as error:
        raise usage_error(path, error, "nothing was sent", MAX_PROBLEMS) from None


def _check_options(log: IntentLog, options: RunOptions) -> None:
    """Refuse options that make every row another message, which would be sent although the log has it."""
    if log.state.options not in (None, options):
        before, now = asdict(log.state.options), asdict(options)
        changed = ", ".join(f"{name} was {before[name]!r}" for name in now if before[name] != now[name])
        raise click.UsageError(
            f"{log.path} was written with other options: {changed}. Repeat them to continue; for another "
            "sending to the same numbers, give another --log"
        )


def _client(settings: Settings) -> ProviderClient:
    if not settings.license_key.get_secret_value():
        raise InvalidSetting("POSTBACKS_LICENSE_KEY is not set: it is the licence key of your account")
    try:
        return ProviderClient(settings.provider, settings.license_key)
    except ValueError as error:
        raise InvalidSetting(f"POSTBACKS_PROVIDER: {error}") from None


def _submission_url(settings: Settings) -> SecretStr:
    return settings.submission_url or SecretStr(f"{local_url(settings.listen)}/submission")
