"""Runs the load generator, as a process of its own, against a gateway."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec import json

from benchmarks.baselines.naive_postback import ACCOUNTS
from benchmarks.harness.load import Load
from tests.support.process import ROOT


class LoadFailed(Exception):
    """The load generator failed, or the gateway responded with another status than 200."""


async def post(
    address: str,
    bodies: Path,
    seconds: float,
    rate: float | None = None,
    times: Path | None = None,
) -> Load:
    """Post the bodies to the gateway at `address`. `benchmarks.harness.load` describes the arguments.

    Raises:
        LoadFailed: the load generator exited with an error, which it has printed.
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
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise LoadFailed(f"The load generator exited with status {process.returncode}")
    return json.decode(output, type=Load)


async def post_all_acknowledged(
    address: str, bodies: Path, seconds: float, rate: float | None = None, times: Path | None = None
) -> Load:
    """Post the bodies, and require that all responses are 200.

    Raises:
        LoadFailed: the load generator failed, or there was another response.
    """
    load = await post(address, bodies, seconds, rate, times)
    if load.statuses.keys() != {"200"}:
        raise LoadFailed(f"Responses by status: {load.statuses}")
    return load
