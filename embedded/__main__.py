"""`python -m embedded kafka|clickhouse [--port N] [--data DIR]`: run one embedded engine.

Prints its address as a line on standard output once it is ready.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from pathlib import Path

from embedded.clickhouse.server import serve_clickhouse
from embedded.kafka.class_cache import with_class_cache
from embedded.kafka.installation import Kafka, installed_kafka
from embedded.kafka.server import LogOptions, serve_kafka
from runtime.process import run_process
from runtime.settings import Settings


def main() -> None:
    parser = ArgumentParser(prog="python -m embedded", description="Run one embedded engine on loopback.")
    engines = parser.add_subparsers(dest="engine", required=True)
    kafka = engines.add_parser("kafka", help="a single node of Apache Kafka")
    clickhouse = engines.add_parser("clickhouse", help="ClickHouse behind its HTTP interface")
    for engine, port in ((kafka, 9092), (clickhouse, 8123)):
        engine.add_argument("--port", type=int, default=port, help=f"0 for a free one; default {port}")
        engine.add_argument("--data", type=Path, help="default: POSTBACKS_DATA, else ./data")
    options = parser.parse_args()

    async def work(settings: Settings, stop: asyncio.Event) -> None:
        if options.engine == "kafka":
            kafka = await asyncio.to_thread(_kafka, settings)
            log = LogOptions(settings.log_bytes, settings.log_flush)
            await serve_kafka(kafka, options.port, (options.data or settings.data) / "kafka", log, stop)
        else:
            await serve_clickhouse(options.port, options.data or settings.data, stop)

    run_process(work)


def _kafka(settings: Settings) -> Kafka:
    return with_class_cache(installed_kafka(settings.java, settings.cache_folder))


if __name__ == "__main__":
    main()
