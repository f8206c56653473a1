"""The operator's port: what it says of a process that is not well, and of several that report as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import aiohttp

from runtime.ops import TOGETHER, Health, serve_ops
from tests.processes import ROOT

WORK = """
from runtime.metrics import REQUEST_BYTES, SPOOL_AGE, SPOOL_BYTES
REQUEST_BYTES.inc({0}); SPOOL_BYTES.set({0}); SPOOL_AGE.set({0})
input("ready\\n")
"""
REPORT = "from runtime.ops import exposition; print(exposition().decode())"


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


def test_several_processes_report_as_one(tmp_path: Path) -> None:
    environment = os.environ | {TOGETHER: str(tmp_path)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORK.format(number)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (2, 40)
    ]
    try:
        for worker in workers:
            assert worker.stdout
            assert worker.stdout.readline() == "ready\n"
        report = subprocess.check_output(
            [sys.executable, "-c", REPORT], cwd=ROOT, env=environment, text=True
        ).splitlines()
    finally:
        for worker in workers:
            worker.communicate("\n")
    assert "postbacks_gateway_request_bytes_total 42.0" in report
    assert "postbacks_gateway_spool_bytes 42.0" in report
    assert "postbacks_gateway_spool_age_seconds 40.0" in report
