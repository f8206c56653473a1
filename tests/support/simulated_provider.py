"""The simulated provider in a thread, for tests of processes that send."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from simulator.provider import ProviderPlan, serve


class SimulatedProvider(NamedTuple):
    url: str
    ledger: Path

    def accepted(self, to_number: str) -> list[tuple[str, int]]:
        """The texts that it accepted for a number, with how often each was."""
        with closing(sqlite3.connect(self.ledger)) as database:
            query = "SELECT text, times FROM accepted WHERE to_number = ?"
            return database.execute(query, (to_number,)).fetchall()


@contextmanager
def simulated_provider(ledger: Path, postback_url: str) -> Iterator[SimulatedProvider]:
    """Take calls for the block; then post the postbacks that are left.

    Args:
        ledger: a new file.
    """
    listening: Future[str] = Future()
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()
    plan = ProviderPlan("127.0.0.1", 0, 1, postback_url, pace=0.05, ledger=ledger)
    with ThreadPoolExecutor(1) as thread:
        serving = thread.submit(loop.run_until_complete, serve(plan, stop, listening.set_result))
        serving.add_done_callback(lambda _: loop.close())
        try:
            yield SimulatedProvider(f"http://{listening.result(10)}", ledger)
        finally:
            loop.call_soon_threadsafe(stop.set)
            serving.result(60)
