"""`python -m benchmarks [NAME …]`: measure; without a name all but the long ones. `report` writes them up.

Each prints a table and writes run/benchmarks/NAME.json beside it.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks import correlation, end_to_end, flush, gateway, queries, sink, state_growth, workers
from benchmarks.harness.report import write_report
from benchmarks.harness.result import Result
from benchmarks.harness.table import page
from benchmarks.harness.trials import Plan
from runtime.logging import configure_logs

Benchmark = Callable[[Plan], Coroutine[Any, Any, Result]]

#: In the order of the data's way.
BENCHMARKS: dict[str, Benchmark] = {
    "gateway": gateway.measure,
    "correlation": correlation.measure,
    "sink": sink.measure,
    "end_to_end": end_to_end.measure,
}
#: Only when asked for by name.
LONG: dict[str, Benchmark] = {
    "flush": flush.measure,
    "workers": workers.measure,
    "state_growth": state_growth.measure,
    "queries": queries.measure,
}


def main() -> None:
    every = BENCHMARKS | LONG
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join([*every, 'report'])}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs; default 3")
    parser.add_argument(
        "--size",
        type=int,
        help="events, rows, requests, or seconds to hold; default: what the benchmark finds right",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="CONTENDER", help="run this one; repeatable"
    )
    given = parser.parse_args()
    names = given.names or [*BENCHMARKS]
    if unknown := set(names) - every.keys() - {"report"}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join([*every, 'report'])}")
    configure_logs("warning", "text")
    plan = Plan(given.rounds, given.size, frozenset(given.only))
    for name in names:
        if name == "report":
            print(write_report())
            continue
        print(f"{name}:", flush=True)
        result = asyncio.run(every[name](plan))
        path = result.save()
        print(f"\n{page(result)}\n\n(written to {path})\n", flush=True)


if __name__ == "__main__":
    main()
