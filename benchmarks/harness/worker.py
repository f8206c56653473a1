"""A worker of streams as a process to measure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from aiohttp import ClientConnectionError, ClientSession

from tests.support.gateway import free_address
from tests.support.process import Process, running

#: Seconds; a restore of many millions of states takes minutes.
READY_TIMEOUT = 1_800.0
POLL_INTERVAL = 0.1


class RunningWorker(NamedTuple):
    """A running worker, with its ops port at the address `ops`."""

    process: Process
    ops: str

    @property
    def pid(self) -> int:
        return self.process.popen.pid

    async def wait_ready(self) -> None:
        """Wait until /readyz reports no problems."""
        async with asyncio.timeout(READY_TIMEOUT), ClientSession() as session:
            while True:
                if await self._is_ready(session):
                    return
                await asyncio.sleep(POLL_INTERVAL)

    async def _is_ready(self, session: ClientSession) -> bool:
        assert self.process.running, f"the worker exited with status {self.process.popen.returncode}"
        try:
            async with session.get(f"http://{self.ops}/readyz") as response:
                return response.status == 200
        except ClientConnectionError:
            return False


@contextmanager
def open_worker(kafka: str, partitions: int, data: Path, store: str = "rocksdb") -> Iterator[RunningWorker]:
    """Run a worker for the block, with its states in the folder `data`."""
    ops = free_address()
    environment = {
        "POSTBACKS_KAFKA": kafka,
        "POSTBACKS_PARTITIONS": str(partitions),
        "POSTBACKS_STORE": store,
        "POSTBACKS_DATA": str(data),
        "POSTBACKS_OPS": ops,
        "POSTBACKS_LOG_LEVEL": "warning",
    }
    with running("streams", environment=environment) as process:
        yield RunningWorker(process, ops)
