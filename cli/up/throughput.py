"""The live line of `postbacks up`: what flows through each stage, and what waits before it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from cli.up.screen import Screen

SECONDS = 1.0
TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True)
class Flow:
    """Of one stage: the counter of what flows through it, and the gauge of what waits before it."""

    counter: str
    unit: str
    waiting: str


FLOWS: Mapping[str, Flow] = {
    "gateway": Flow("postbacks_gateway_requests", "requests", "postbacks_gateway_spool_records"),
    "streams": Flow("postbacks_streams_merged", "postbacks", "postbacks_streams_lag_records"),
    "sinks": Flow("postbacks_sinks_rows", "rows", "postbacks_sinks_lag_records"),
}

#: Sums over all labels, by the metric's name.
Totals = Mapping[str, float]


def read_totals(exposition: str) -> Totals:
    """What a /metrics says, in Prometheus' text format; of histograms it is nothing useful."""
    return {
        family.name: sum(sample.value for sample in family.samples)
        for family in text_string_to_metric_families(exposition)
    }


def describe(stage: str, before: Totals, now: Totals, seconds: float) -> str:
    """A stage's part of the line, from its metrics `seconds` apart; with a new process they begin at 0."""
    of = FLOWS[stage]
    flow, waiting = now.get(of.counter, 0.0), now.get(of.waiting, 0.0)
    rate = max(0.0, flow - before.get(of.counter, flow)) / seconds
    behind = f" ({waiting:,.0f} waiting)" if waiting else ""
    return f"{stage} {rate:,.0f} {of.unit}/s{behind}"


async def show_rates(ops: Mapping[str, str], screen: Screen) -> None:
    """Keep the live line up to date; never ends by itself.

    Args:
        ops: `host:port` of the /metrics of each stage.
    """
    clock = asyncio.get_running_loop().time
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        before = {stage: await _totals(session, address) for stage, address in ops.items()}
        asked = clock()
        while True:
            await asyncio.sleep(SECONDS)
            now = {stage: await _totals(session, address) for stage, address in ops.items()}
            since, asked = clock() - asked, clock()
            screen.now("   ".join(describe(stage, before[stage], now[stage], since) for stage in ops))
            before = now


async def _totals(session: aiohttp.ClientSession, address: str) -> Totals:
    """Nothing, when it does not answer: it is being started again."""
    try:
        async with session.get(f"http://{address}/metrics") as answer:
            return read_totals(await answer.text())
    except (aiohttp.ClientError, TimeoutError):
        return {}
