"""The load generator as a process of its own, run against a port; and a gateway that one can post to."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec import json

from benchmarks.baselines.naive_postback import ACCOUNTS
from benchmarks.harness.load import Load
from tests.support.process import ROOT


class NotAllKept(Exception):
    """There were answers other than 200: what was measured is not what was meant."""


async def post(
    address: str,
    bodies: Path,
    seconds: float,
    rate: float | None = None,
    times: Path | None = None,
) -> Load:
    """Post the bodies to the gateway at `address`, as `benchmarks.harness.load` describes it.

    Raises:
        NotAllKept: the generator gave up; it has said why.
    """
    (token,) = ACCOUNTS
    options = {"--seconds": seconds, "--rate": rate, "--times": times}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.harness.load", f"http://{address}/postback/{token}", str(bodies)),
        *(str(part) for name, value in options.items() if value is not None for part in (name, value)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise NotAllKept(f"The load generator ended with {process.returncode}")
    return json.decode(told, type=Load)


async def post_all_kept(
    address: str, bodies: Path, seconds: float, rate: float | None = None, times: Path | None = None
) -> Load:
    """The same, where nothing but 200 will do.

    Raises:
        NotAllKept: there was another answer.
    """
    load = await post(address, bodies, seconds, rate, times)
    if load.statuses.keys() != {"200"}:
        raise NotAllKept(f"Answers by status: {load.statuses}")
    return load
