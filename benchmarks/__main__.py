"""`python -m benchmarks [NAME …]` runs benchmarks, by default the short ones; `report` writes the docs.

Each benchmark prints its tables and saves its result as run/benchmarks/NAME.json.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from typing import Protocol

from benchmarks import (
    compression,
    correlation,
    end_to_end,
    flush,
    gateway,
    queries,
    responder_memory,
    sink,
    state_growth,
    workers,
)
from benchmarks.harness.report import write_report
from benchmarks.harness.result import Result
from benchmarks.harness.table import format_result
from benchmarks.harness.trials import BenchmarkOptions
from runtime.logging import configure_logs


class Benchmark(Protocol):
    """A module of this package that measures one part of the pipeline."""

    TITLE: str

    async def measure(self, options: BenchmarkOptions) -> Result: ...


#: In the order of the data flow.
BENCHMARKS: dict[str, Benchmark] = {
    "gateway": gateway,
    "correlation": correlation,
    "sink": sink,
    "end_to_end": end_to_end,
}
#: Run only by name.
LONG_BENCHMARKS: dict[str, Benchmark] = {
    "compression": compression,
    "flush": flush,
    "workers": workers,
    "state_growth": state_growth,
    "queries": queries,
    "responder_memory": responder_memory,
}


def main() -> None:
    benchmarks = BENCHMARKS | LONG_BENCHMARKS
    names = ", ".join([*benchmarks, "report"])
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--rounds", type=int, default=3, help="number of runs per candidate; default 3")
    parser.add_argument(
        "--size",
        type=int,
        help="number of events, rows, requests or messages, or seconds at each rate; "
        "the default depends on the benchmark",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="CANDIDATE", help="run only this one; repeatable"
    )
    arguments = parser.parse_args()
    chosen = arguments.names or [*BENCHMARKS]
    if unknown := set(chosen) - benchmarks.keys() - {"report"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {names}")
    configure_logs("warning", "text")
    options = BenchmarkOptions(arguments.rounds, arguments.size, frozenset(arguments.only))
    for name in chosen:
        if name == "report":
            for path in write_report({key: each.TITLE for key, each in benchmarks.items()}):
                print(path)
            continue
        print(f"{name}:", flush=True)
        result = asyncio.run(benchmarks[name].measure(options))
        path = result.save()
        print(f"\n{format_result(result)}\n\n(saved to {path})\n", flush=True)


if __name__ == "__main__":
    main()
