"""`postbacks simulate`: posts simulated postbacks, and reports what they should result in."""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.options import RATE, SettingsLoader
from cli.up.welcome import local_url
from runtime.process import DONE, FAILED, stop_on_signals
from simulator.report import Report
from simulator.run import Plan, RunProgress
from simulator.run import simulate as run

SEED = 1


@click.command()
@click.option("--url", help="The PostBackURL. [default: that of a gateway on POSTBACKS_LISTEN]")
@click.option("--rate", type=RATE, metavar="RATE", default=10, show_default=True, help="Posts per second.")
@click.option(
    "--seed", type=int, default=SEED, show_default=True, help="The same seed posts the same postbacks."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after N postbacks, with repeats.")
@click.option("--seconds", type=RATE, metavar="SECONDS", help="Stop after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON object.")
@click.pass_obj
def simulate(
    load: SettingsLoader,
    url: str | None,
    rate: float,
    seed: int,
    count: int | None,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Post simulated postbacks to a gateway.

    Simulates the provider, in its wire format: messages are sent, refused and retried; receipts come several
    times and out of order; people reply, or write first; postbacks are repeated. A post without a 2xx is
    retried. The report at the end counts what was acknowledged, and the messages that must result from it, by
    status. Without --count or --seconds, posts until Ctrl-C, then completes what is in flight and reports.

    \b
    Example:
      postbacks simulate --rate 100 --seconds 60
      postbacks simulate --url http://127.0.0.1:8080/postback/TOKEN \\
        --count 10000 --rate 2000 --seed 7 --json

    \b
    Settings:
      POSTBACKS_LISTEN  where the gateway listens, unless --url is given

    \b
    Exit status:
      0  everything posted was acknowledged
      1  something was not; the report says how much
      2  an option or a setting is wrong
    """
    plan = Plan(url or f"{local_url(load().listen)}/postback", rate, seed, count, seconds)
    try:
        report = asyncio.run(_run(plan))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    click.echo(report.as_json() if as_json else report.as_table())
    sys.exit(FAILED if report.unsure else DONE)


async def _run(plan: Plan) -> Report:
    stop = stop_on_signals()
    console = Console(stderr=True)
    # Not the whole URL, whose token must not get into a log.
    click.echo(f"Posting to {urlsplit(plan.url).netloc}; Ctrl-C stops", err=True)
    if not console.is_terminal:
        return await run(plan, stop)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=_expected_posts(plan), rate="")

        def on_progress(run_progress: RunProgress) -> None:
            rate = f"{run_progress.posts / run_progress.seconds:,.0f} posts/s"
            progress.update(task, completed=run_progress.posts, rate=rate)

        return await run(plan, stop, progress=on_progress)


def _expected_posts(plan: Plan) -> int | None:
    """The number of posts without retries; None if the run has no end."""
    by_time = None if plan.seconds is None else round(plan.rate * plan.seconds)
    return min((n for n in (plan.count, by_time) if n is not None), default=None)
