"""`postbacks simulate --listen`: runs the simulated provider as a server."""

from __future__ import annotations

import asyncio
import os

import click

from runtime.process import DONE, FAILED, stop_on_signals
from simulator.ledger import NO_RESPONSE
from simulator.provider import ProviderPlan, serve
from simulator.provider_report import ProviderReport


def run_provider(plan: ProviderPlan, as_json: bool) -> int:
    """Run until it is stopped, print the report; return the exit status.

    Raises:
        ValueError: the PostBackURL is invalid.
    """
    try:
        report = asyncio.run(_serve(plan))
    except FileExistsError:
        raise click.UsageError(f"--ledger={plan.ledger}: must be a new file, and exists") from None
    except OSError as error:
        raise click.UsageError(f"--listen, --ledger: {error.strerror}") from None
    if set(report.postbacks.answers) == {NO_RESPONSE}:
        click.echo("Nothing answered at any PostBackURL; is a gateway running?", err=True)
    click.echo(report.as_json() if as_json else report.as_table())
    is_complete = not (report.sent_twice or report.postbacks.unsure or report.postbacks.refused)
    return DONE if is_complete else FAILED


async def _serve(plan: ProviderPlan) -> ProviderReport:
    stop = stop_on_signals(lambda: os._exit(FAILED))

    def on_listening(address: str) -> None:
        click.echo(f"Taking calls on http://{address}, seed {plan.seed}; Ctrl-C stops", err=True)

    return await serve(plan, stop, on_listening)
