"""What the figures were taken on, and with: without that they mean nothing later."""

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


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def machine() -> dict[str, str]:
    """Its parts and the versions, by their names."""
    return {
        "processor": f"{os.cpu_count()} of {_line('/proc/cpuinfo', 'model name') or platform.machine()}",
        "memory": f"{int((_line('/proc/meminfo', 'MemTotal') or '0 kB').split()[0]) / 2**20:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load when it began": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _line(file: str, name: str) -> str:
    """What a file of /proc says under that name; empty when it says nothing."""
    lines = Path(file).read_text().splitlines() if Path(file).exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
