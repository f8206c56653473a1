"""The ops port of a process that is not ready, and metrics of several processes that report as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import aiohttp

from runtime.health import Health, serve_ops
from runtime.multiprocess_metrics import MultiprocessCollector
from tests.support.process import ROOT

WORK = """
from runtime.metrics import REQUEST_BYTES, SPOOL_AGE, SPOOL_BYTES
REQUEST_BYTES.inc({0}); SPOOL_BYTES.set({0}); SPOOL_AGE.set({0})
input("ready\\n")
"""


async def get(address: str, path: str) -> tuple[int, str]:
    async with aiohttp.request("GET", f"http://{address}/{path}") as response:
        return response.status, await response.text()


async def test_readyz_names_missing_dependencies() -> None:
    health = Health()
    health.down("kafka", "Kafka at k1:9092 does not answer")
    health.down("partitions", "none assigned yet")
    async with serve_ops("127.0.0.1:0", health) as address:
        assert await get(address, "readyz") == (
            503,
            "kafka: Kafka at k1:9092 does not answer\npartitions: none assigned yet\n",
        )
        assert "postbacks_ready 0.0" in (await get(address, "metrics"))[1]
        health.up("kafka")
        health.up("partitions")
        assert await get(address, "readyz") == (200, "ready\n")
        assert "postbacks_ready 1.0" in (await get(address, "metrics"))[1]


async def test_livez_stays_200_while_dependencies_are_down() -> None:
    health = Health()
    health.down("kafka", "unavailable")
    async with serve_ops("127.0.0.1:0", health) as address:
        assert await get(address, "livez") == (200, "alive\n")


class CountingProcess:
    """A process that reports `number` in its metrics and runs until it is stopped."""

    def __init__(self, collector: MultiprocessCollector, name: str, number: int) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", WORK.format(number)],
            cwd=ROOT,
            env={**os.environ, **collector.environment(name)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout
        assert self.popen.stdout.readline() == "ready\n"

    def stop(self) -> None:
        self.popen.communicate("\n")


def test_processes_report_as_one_across_restarts(tmp_path: Path) -> None:
    collector = MultiprocessCollector(tmp_path)
    first, second = CountingProcess(collector, "1", 2), CountingProcess(collector, "2", 40)
    try:
        report = collector.exposition().decode().splitlines()
        assert "postbacks_gateway_request_bytes_total 42.0" in report
        assert "postbacks_gateway_spool_bytes 42.0" in report
        assert "postbacks_gateway_spool_age_seconds 40.0" in report
        files = len(list(tmp_path.iterdir()))

        second.stop()
        collector.mark_dead("2")
        report = collector.exposition().decode().splitlines()
        assert "postbacks_gateway_request_bytes_total 42.0" in report
        assert "postbacks_gateway_spool_bytes 2.0" in report

        second = CountingProcess(collector, "2", 100)
        report = collector.exposition().decode().splitlines()
        assert "postbacks_gateway_request_bytes_total 142.0" in report
        assert "postbacks_gateway_spool_bytes 102.0" in report
        assert len(list(tmp_path.iterdir())) == files
    finally:
        first.stop()
        second.stop()
