"""`postbacks simulate`: postbacks as the provider would send them, and what they must come to."""

from __future__ import annotations

import asyncio
import signal
import sys
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.command import Load
from cli.up.welcome import LOOPBACK
from runtime.process import DONE, FAILED
from simulator.report import Report
from simulator.run import Plan, Sending
from simulator.run import simulate as post

SEED = 1


@click.command()
@click.option("--url", help="The PostBackURL. [default: that of a gateway on POSTBACKS_LISTEN]")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=10,
    show_default=True,
    help="Posts a second.",
)
@click.option(
    "--seed", type=int, default=SEED, show_default=True, help="The same seed tells the same stories."
)
@click.option("--count", type=click.IntRange(1), help="End after so many postbacks, repeats included.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
@click.pass_obj
def simulate(
    load: Load,
    url: str | None,
    rate: float,
    seed: int,
    count: int | None,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Post what the provider would post, in its own wire format, at a rate.

    Messages are sent, refused and tried again, receipts come several and out of order, people reply or write
    by themselves, and things are said twice. What is not answered with 2xx is posted again. At the end it
    reports what was acknowledged, and to which messages, by status, that must come together. Without --count
    or --seconds it goes on until Ctrl-C, upon which it finishes what is in hand and reports.

    \b
    Example:
      postbacks simulate --rate 100 --seconds 60
      postbacks simulate --url http://127.0.0.1:8080/postback/TOKEN --count 10000 --rate 2000 --seed 7 --json

    \b
    Settings:
      POSTBACKS_LISTEN  where the gateway is, when --url does not say it

    \b
    Exit status:
      0  everything that was posted was acknowledged
      1  something was not; the report says how much
      2  an option or a setting is wrong
    """
    if url is None:
        host, _, port = load().listen.rpartition(":")
        url = f"http://{LOOPBACK.get(host, host)}:{port}/postback"
    plan = Plan(url, rate, seed, count, seconds)
    try:
        report = asyncio.run(_run(plan))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    click.echo(report.as_json() if as_json else report.as_table())
    sys.exit(FAILED if report.unsure else DONE)


async def _run(plan: Plan) -> Report:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = Console(stderr=True)
    # Not the whole URL: it may end in a token, and this line in a log.
    click.echo(f"Posting to {urlsplit(plan.url).netloc}; Ctrl-C ends it", err=True)
    if not console.is_terminal:
        return await post(plan, stop)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        total = _expected(plan)
        task = bar.add_task("", total=total, rate="")

        def tell(now: Sending) -> None:
            bar.update(task, completed=now.posts, rate=f"{now.posts / now.seconds:,.0f} posts/s")

        return await post(plan, stop, progress=tell)


def _expected(plan: Plan) -> int | None:
    """How many posts there will be, when nothing must be tried again; None when only a person ends it."""
    by_time = None if plan.seconds is None else round(plan.rate * plan.seconds)
    return min((n for n in (plan.count, by_time) if n is not None), default=None)
