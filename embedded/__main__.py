"""`python -m embedded kafka|clickhouse [--port N] [--data DIR]`: one embedded engine as a process of its own.

Prints where it is (a line on standard output) when it is ready.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from pathlib import Path

from embedded.clickhouse.server import serve_clickhouse
from embedded.kafka.server import serve_kafka
from runtime.process import run_process
from runtime.settings import Settings


def main() -> None:
    parser = ArgumentParser(prog="python -m embedded", description="One embedded engine, on loopback.")
    engines = parser.add_subparsers(dest="engine", required=True)
    kafka = engines.add_parser("kafka", help="one node of Apache Kafka")
    clickhouse = engines.add_parser("clickhouse", help="ClickHouse, behind its HTTP interface")
    for engine, port in ((kafka, 9092), (clickhouse, 8123)):
        engine.add_argument("--port", type=int, default=port, help=f"0 takes a free one; default {port}")
        engine.add_argument("--data", type=Path, help="default: POSTBACKS_DATA, else ./data")
    chosen = parser.parse_args()

    async def work(settings: Settings, stop: asyncio.Event) -> None:
        if chosen.engine == "kafka":
            await serve_kafka(settings, chosen.port, (chosen.data or settings.data) / "kafka", stop)
        else:
            await serve_clickhouse(chosen.port, chosen.data or settings.data, stop)

    run_process(work)


if __name__ == "__main__":
    main()
