"""Sends messages through the client and the simulated provider, and accounts for each of them.

Every submission must be matched by a postback, unsent or refused, and what the client's log, the provider's
ledger and ClickHouse say must agree: nothing is sent twice, and what is unknown is listed. Client and gateway
may be killed meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Protocol

from simulator.poster import Observer
from simulator.provider import ProviderPlan, serve
from simulator.provider_report import ProviderReport
from tests.chaos.outcome import PostLog
from tests.chaos.scenario import Stage
from tests.chaos.send_plan import PlannedSend, count_treatments, plan_sends, write_sends
from tests.chaos.send_sides import count_fates, read_fates
from tests.chaos.sender import Sender

POLL_INTERVAL = 1.0
#: Seconds for what is left to be posted, beyond the limit after which messages are unsent.
SETTLE_TIMEOUT = 180.0
#: Runs that only post the answers that are left.
MAX_RUNS = 5


class Pipeline(Protocol):
    """What answers and postbacks are posted to."""

    #: URL of the gateway, and of ClickHouse.
    gateway: str
    clickhouse: str

    @property
    def read_token(self) -> str:
        """With which the gateway is asked about recipients; empty: it is not asked."""

    async def kill_gateway(self) -> None:
        """Kill it, and return when it accepts again."""


@dataclass(frozen=True)
class SendOptions:
    """The size of a run, and its seed."""

    seed: int
    seconds: float
    #: Messages per second.
    rate: float
    #: Seconds until a message is unsent.
    limit: float
    #: How often each of client and gateway is killed, in turns.
    kills: int = 0
    #: Mean seconds between two postbacks about a message.
    pace: float = 1.0


@dataclass(frozen=True)
class SentRows:
    """What was sent, and where client and provider keep what they know about it."""

    sends: list[PlannedSend]
    sender: Sender
    ledger: Path


async def send_all(stage: Stage, pipeline: Pipeline, options: SendOptions, posts: PostLog) -> SentRows:
    """Send, and wait until nothing more is expected; `posts` gets all posts of the provider."""
    rng, file, ledger = Random(options.seed), stage.folder / "sends.csv", stage.folder / "ledger"
    sends = plan_sends(options.seed, round(options.seconds * options.rate), options.rate, datetime.now(UTC))
    write_sends(file, sends)
    plan = ProviderPlan(
        "127.0.0.1", 0, options.seed, f"{pipeline.gateway}/postback", pace=options.pace, ledger=ledger
    )
    stop = asyncio.Event()
    async with running_provider(plan, stop, posts.record) as (address, serving):
        settings = {
            "license_key": "any",
            "provider": f"http://{address}/sms.svc/SecureREST",
            "status_postback_url": f"{pipeline.gateway}/postback",
            "submission_url": f"{pipeline.gateway}/submission",
            "contact_url": f"{pipeline.gateway}/contact",
            "read_token": pipeline.read_token,
        }
        sender = Sender(file, options.rate, settings)
        began = time.monotonic()
        sender.start()
        await _kill_in_turns(stage, sender, pipeline, options, rng)
        await _finish(stage, sender)
        stage.show(f"{len(sends):,} rows sent in {time.monotonic() - began:.1f} s, {count_treatments(sends)}")
        await _settle(stage, pipeline, options, sender.count_answered())
        stop.set()
        report = await serving
    _require_report(stage, report)
    return SentRows(sends, sender, ledger)


@asynccontextmanager
async def running_provider(
    plan: ProviderPlan, stop: asyncio.Event, observe: Observer
) -> AsyncIterator[tuple[str, asyncio.Task[ProviderReport]]]:
    """Run the provider for the block; yield its address and the task that returns its report."""
    listening = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(plan, stop, listening.set_result, observe))
    try:
        await asyncio.wait((listening, serving), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()  # the reason
        yield listening.result(), serving
    finally:
        stop.set()
        await serving


async def _kill_in_turns(
    stage: Stage, sender: Sender, pipeline: Pipeline, options: SendOptions, rng: Random
) -> None:
    """Kill client and gateway at random moments while rows are sent."""
    interval = options.seconds / max(1, 2 * options.kills)
    for number in range(1, options.kills + 1):
        await sender.wait_sending()
        await asyncio.sleep(rng.uniform(0.4, 1) * interval)
        stage.require(sender.is_running, f"the client still sends when it is to be killed (kill {number})")
        sender.kill()
        sender.start()
        await asyncio.sleep(rng.uniform(0.4, 1) * interval)
        began = time.monotonic()
        await pipeline.kill_gateway()
        stage.show(f"kill {number}: gateway accepts again after {time.monotonic() - began:.1f} s")


async def _finish(stage: Stage, sender: Sender) -> None:
    """Wait until the run ends, and repeat it while answers are left in the log."""
    for _ in range(MAX_RUNS):
        status = await sender.wait()
        if not sender.read_state().pending:
            # Some were refused, and some are unknown.
            stage.require(status == 1, f"postbacks send exits with 1, not {status}: {sender.read_output()}")
            return
        stage.show(f"{len(sender.read_state().pending):,} answers are left in the log")
        sender.start()
    stage.require(False, "all answers get to the gateway")


async def _settle(stage: Stage, pipeline: Pipeline, options: SendOptions, answered: int) -> None:
    """Wait until so many submissions are in SQL, and each is matched, unsent or refused."""
    deadline = time.monotonic() + options.limit + SETTLE_TIMEOUT
    while True:
        fates = count_fates(read_fates(pipeline.clickhouse))
        if (fates.total() == answered and not fates["open"]) or time.monotonic() > deadline:
            break
        await asyncio.sleep(POLL_INTERVAL)
    stage.show(f"submissions in SQL: {dict(fates)}")
    stage.require(fates.total() == answered, f"there is a submission for each of {answered:,} answers")
    stage.require(not fates["open"], "every submission is matched, unsent or refused in SQL")


def _require_report(stage: Stage, report: ProviderReport) -> None:
    postbacks = report.postbacks
    stage.show(
        f"provider: {report.calls:,} calls, {report.accepted:,} accepted, {sum(report.refused.values()):,} "
        f"refused, {dict(report.dropped)} dropped, {report.sent_twice} sent twice; {postbacks.posts:,} posts"
    )
    stage.require(report.sent_twice == 0, f"nothing is sent twice: {report.examples}")
    stage.require(not report.rejected, f"the provider rejects no call: {report.rejected}")
    stage.require(not (postbacks.unsure or postbacks.refused), "all postbacks are acknowledged")
    stage.require(report.pending == 0, "all postbacks are posted")
