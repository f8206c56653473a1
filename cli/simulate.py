"""`postbacks simulate`: the simulated provider, which posts postbacks, or also takes the calls that send."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from secrets import randbits
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.options import LISTEN, RATE, SHARE, ZERO_OR_MORE, SettingsLoader
from cli.simulate_provider import run_provider
from cli.unanswered import Unanswered
from cli.up.welcome import local_url
from runtime.process import DONE, FAILED, stop_on_signals
from runtime.settings import Settings
from simulator.behaviour import Odds
from simulator.customer import Customer
from simulator.provider import ProviderPlan
from simulator.report import Report
from simulator.run import Plan, RunProgress
from simulator.run import simulate as run
from simulator.scenario import DEFAULT_CUSTOMER
from streams.respond.rules_file import read_rules

#: Options of the other way to run it.
POSTING_ONLY = ("rate", "count", "rules")
LISTENING_ONLY = ("refused", "dropped", "silent", "delay", "pace", "ledger")
#: Of the progress bar.
COLUMNS = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())


@click.command()
@click.option("--url", help="The PostBackURL. [default: that of a gateway on POSTBACKS_LISTEN]")
@click.option("--rate", type=RATE, metavar="RATE", default=10, show_default=True, help="Posts per second.")
@click.option("--seed", type=int, help="The same seed posts the same postbacks. [default: a random one]")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after N postbacks, with repeats.")
@click.option("--seconds", type=RATE, metavar="SECONDS", help="Stop after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON object.")
@click.option(
    "--rules",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Let people also write to the numbers of these rules of automatic responses, and their keywords.",
)
@click.option("--listen", type=LISTEN, metavar="HOST:PORT", help="Take the calls that send, on this address.")
@click.option(
    "--refused",
    type=SHARE,
    metavar="SHARE",
    default=0.0,
    help="With --listen: refuse this share.",
)
@click.option(
    "--dropped",
    type=SHARE,
    metavar="SHARE",
    default=0.0,
    help="With --listen: close this share of connections without an answer, half of them after accepting.",
)
@click.option(
    "--silent",
    type=SHARE,
    metavar="SHARE",
    default=0.0,
    help="With --listen: post nothing about this share of messages.",
)
@click.option(
    "--delay",
    type=ZERO_OR_MORE,
    metavar="SECONDS",
    default=0.0,
    help="With --listen: answer within so many seconds.",
)
@click.option(
    "--pace",
    type=ZERO_OR_MORE,
    metavar="SECONDS",
    default=1.0,
    show_default=True,
    help="With --listen: mean time between two postbacks about a message.",
)
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --listen: keep the answers in this new SQLite file.",
)
@click.pass_context
def simulate(
    context: click.Context,
    url: str | None,
    rate: float,
    seed: int | None,
    count: int | None,
    seconds: float | None,
    as_json: bool,
    rules: Path | None,
    listen: tuple[str, int] | None,
    refused: float,
    dropped: float,
    silent: float,
    delay: float,
    pace: float,
    ledger: Path | None,
) -> None:
    """Post simulated postbacks to a gateway.

    Simulates the provider, in its wire format: messages are sent, refused and retried; receipts come several
    times and out of order; people reply, or write first; postbacks are repeated. A post without a 2xx is
    retried. The report at the end counts what was acknowledged, and the messages that must result from it, by
    status. Without --count or --seconds, posts until Ctrl-C, then completes what is in flight and reports.

    With --listen, simulates its API, too: takes AdvancedSMSsend and SimpleSMSsendWithPostback, and posts what
    becomes of each message to its StatusPostBackURL, or to --url. A ReferenceID with error-N, drop-before,
    drop-after, silent or delay-SECONDS says how to treat a message, and so do the numbers 555-0100 to
    555-0139 (docs/sending.md). The report also counts the messages that were sent twice. After Ctrl-C, posts
    what is left, and reports.

    \b
    Example:
      postbacks simulate --rate 100 --seconds 60
      postbacks simulate --url http://127.0.0.1:8080/postback/TOKEN \\
        --count 10000 --rate 2000 --seed 7 --json
      postbacks simulate --rules rules.toml --rate 100
      postbacks simulate --listen 127.0.0.1:8090 --refused 0.1
      POSTBACKS_PROVIDER=http://127.0.0.1:8090 \\
        POSTBACKS_LICENSE_KEY=any postbacks send --unchecked --to 17575449510 "Hi"

    \b
    Settings:
      POSTBACKS_LISTEN  where the gateway listens, unless --url is given

    \b
    Exit status:
      0  everything posted was acknowledged, and no message was sent twice
      1  something was not acknowledged, or a message was sent twice
      2  an option or a setting is wrong
    """
    _check_mode(context, listening=listen is not None)
    load: SettingsLoader = context.obj
    url = url or f"{local_url(load().listen)}/postback"
    seed = randbits(32) if seed is None else seed
    try:
        if listen:
            odds = Odds(refused, dropped, silent, delay)
            plan = ProviderPlan(*listen, seed, url, odds, pace, seconds, ledger)
            sys.exit(run_provider(plan, as_json))
        customer = _customer(rules, load()) if rules else DEFAULT_CUSTOMER
        report = asyncio.run(_run(Plan(url, rate, seed, count, seconds, customer=customer)))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    click.echo(report.as_json(seed=seed) if as_json else report.as_table())
    sys.exit(FAILED if report.unsure or report.refused else DONE)


def _customer(file: Path, settings: Settings) -> Customer:
    """A customer with the numbers of the rules, and whose keywords people write."""
    rules = read_rules(file, settings.partitions, settings.listed_opt_out_words)
    numbers = {number for numbers in rules.own_numbers.values() for number in numbers}
    keywords = [keyword for rule in rules.rules for keyword in rule.keywords.values()]
    return Customer.with_answers(sorted(numbers), keywords)


def _check_mode(context: click.Context, *, listening: bool) -> None:
    """Refuse options that would have no effect."""
    for name in POSTING_ONLY if listening else LISTENING_ONLY:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} is only for runs {'without' if listening else 'with'} --listen")


async def _run(plan: Plan) -> Report:
    stop = stop_on_signals()
    console = Console(stderr=True)
    # Not the whole URL, whose token must not get into a log.
    address = urlsplit(plan.url).netloc
    click.echo(f"Posting to {address}, seed {plan.seed}; Ctrl-C stops", err=True)
    unanswered = Unanswered(address)
    try:
        if not console.is_terminal:
            return await run(plan, stop, unanswered.observe)
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("", total=_expected_posts(plan), rate="")

            def on_progress(run_progress: RunProgress) -> None:
                rate = f"{run_progress.posts / run_progress.seconds:,.0f} posts/s"
                progress.update(task, completed=run_progress.posts, rate=rate)

            return await run(plan, stop, unanswered.observe, on_progress)
    finally:
        unanswered.conclude()


def _expected_posts(plan: Plan) -> int | None:
    """The number of posts without retries; None if the run has no end."""
    by_time = None if plan.seconds is None else round(plan.rate * plan.seconds)
    return min((n for n in (plan.count, by_time) if n is not None), default=None)
