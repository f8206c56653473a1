"""Describes the machine and the versions that a result belongs to."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "aiohttp",
    "aiokafka",
    "faust-streaming",
    "rocksdict",
    "msgspec",
    "clickhouse-connect",
    "chdb-core",
)


def timestamp() -> str:
    """Return the current time, for people."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def describe_machine() -> dict[str, str]:
    """Return the hardware, the system, its present load, and the versions of Python and packages."""
    memory = int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20
    return {
        "processor": f"{_field('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _field(file: str, name: str) -> str:
    """Return the value of a field in a file of /proc; empty if it is missing."""
    lines = Path(file).read_text().splitlines() if Path(file).exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
