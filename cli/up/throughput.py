"""The status line of `postbacks up`: the throughput of each stage, and what is pending before it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from cli.up.screen import Screen

#: Seconds between updates.
INTERVAL = 1.0
TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True)
class StageMetrics:
    """Metrics of a stage: the counter of what it processes, and the gauge of what is pending before it."""

    counter: str
    unit: str
    pending: str


METRICS: Mapping[str, StageMetrics] = {
    "gateway": StageMetrics("postbacks_gateway_requests", "requests", "postbacks_gateway_spool_records"),
    "streams": StageMetrics("postbacks_streams_merged", "postbacks", "postbacks_streams_lag_records"),
    "sinks": StageMetrics("postbacks_sinks_rows", "rows", "postbacks_sinks_lag_records"),
}

#: Sums over all labels, by the metric's name.
Totals = Mapping[str, float]


def read_totals(exposition: str) -> Totals:
    """Sum the samples of each metric, given in Prometheus' text format. Sums of histograms mean nothing."""
    return {
        family.name: sum(sample.value for sample in family.samples)
        for family in text_string_to_metric_families(exposition)
    }


def describe(stage: str, before: Totals, now: Totals, seconds: float) -> str:
    """A stage's part of the status line, from its metrics `seconds` apart; a restart resets them to 0."""
    metrics = METRICS[stage]
    count, pending = now.get(metrics.counter, 0.0), now.get(metrics.pending, 0.0)
    rate = max(0.0, count - before.get(metrics.counter, count)) / seconds
    backlog = f" ({pending:,.0f} pending)" if pending else ""
    return f"{stage} {rate:,.0f} {metrics.unit}/s{backlog}"


async def show_throughput(ops: Mapping[str, str], screen: Screen) -> None:
    """Update the status line until cancelled.

    Args:
        ops: `host:port` of each stage's /metrics.
    """
    clock = asyncio.get_running_loop().time
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        before = {stage: await _fetch_totals(session, address) for stage, address in ops.items()}
        fetched_at = clock()
        while True:
            await asyncio.sleep(INTERVAL)
            now = {stage: await _fetch_totals(session, address) for stage, address in ops.items()}
            seconds, fetched_at = clock() - fetched_at, clock()
            parts = (describe(stage, before[stage], now[stage], seconds) for stage in ops)
            screen.update_status("   ".join(parts))
            before = now


async def _fetch_totals(session: aiohttp.ClientSession, address: str) -> Totals:
    """Empty if there is no answer, as while the process restarts."""
    try:
        async with session.get(f"http://{address}/metrics") as response:
            return read_totals(await response.text())
    except (aiohttp.ClientError, TimeoutError):
        return {}
