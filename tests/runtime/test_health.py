"""The operator's port: what it says of a process that is not well, and of several that report as one."""

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


async def ask(address: str, path: str) -> tuple[int, str]:
    async with aiohttp.request("GET", f"http://{address}/{path}") as answer:
        return answer.status, await answer.text()


async def test_what_is_missing_is_said_in_words_until_it_is_there() -> None:
    health = Health()
    health.missing["kafka"] = "Kafka at k1:9092 does not answer"
    health.missing["partitions"] = "none assigned yet"
    async with serve_ops("127.0.0.1:0", health) as address:
        assert await ask(address, "readyz") == (
            503,
            "kafka: Kafka at k1:9092 does not answer\npartitions: none assigned yet\n",
        )
        assert "postbacks_ready 0.0" in (await ask(address, "metrics"))[1]
        health.missing.clear()
        assert await ask(address, "readyz") == (200, "ready\n")
        assert "postbacks_ready 1.0" in (await ask(address, "metrics"))[1]


async def test_nobody_restarts_a_process_for_what_others_lack() -> None:
    health = Health()
    health.missing["kafka"] = "away"
    async with serve_ops("127.0.0.1:0", health) as address:
        assert await ask(address, "livez") == (200, "alive\n")


class Counting:
    """A process that counts so much, and waits."""

    def __init__(self, together: MultiprocessCollector, name: str, number: int) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", WORK.format(number)],
            cwd=ROOT,
            env={**os.environ, **together.environment(name)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout
        assert self.popen.stdout.readline() == "ready\n"

    def end(self) -> None:
        self.popen.communicate("\n")


def test_several_processes_report_as_one_and_one_in_the_place_of_another_goes_on_counting(
    tmp_path: Path,
) -> None:
    together = MultiprocessCollector(tmp_path)
    first, second = Counting(together, "1", 2), Counting(together, "2", 40)
    try:
        report = together.exposition().decode().splitlines()
        assert "postbacks_gateway_request_bytes_total 42.0" in report
        assert "postbacks_gateway_spool_bytes 42.0" in report
        assert "postbacks_gateway_spool_age_seconds 40.0" in report
        files = len(list(tmp_path.iterdir()))

        second.end()
        together.lost("2")
        report = together.exposition().decode().splitlines()
        assert "postbacks_gateway_request_bytes_total 42.0" in report
        assert "postbacks_gateway_spool_bytes 2.0" in report

        second = Counting(together, "2", 100)
        report = together.exposition().decode().splitlines()
        assert "postbacks_gateway_request_bytes_total 142.0" in report
        assert "postbacks_gateway_spool_bytes 102.0" in report
        assert len(list(tmp_path.iterdir())) == files
    finally:
        first.end()
        second.end()
