"""A worker of streams that is measured: its process, and when it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from aiohttp import ClientConnectionError, ClientSession

from tests.support.gateway import free_address
from tests.support.process import Process, running

READY_SECONDS = 1_800.0


class Worker(NamedTuple):
    """One that runs; its ops port is at `ops`."""

    process: Process
    ops: str

    @property
    def pid(self) -> int:
        return self.process.popen.pid

    async def ready(self) -> None:
        """Return when nothing is missing for it to work."""
        async with asyncio.timeout(READY_SECONDS), ClientSession() as session:
            while True:
                if await self._is_ready(session):
                    return
                await asyncio.sleep(0.1)

    async def _is_ready(self, session: ClientSession) -> bool:
        assert self.process.running, f"the worker ended with {self.process.popen.returncode}"
        try:
            async with session.get(f"http://{self.ops}/readyz") as answer:
                return answer.status == 200
        except ClientConnectionError:
            return False


@contextmanager
def worker(kafka: str, partitions: int, states: Path, store: str = "rocksdb") -> Iterator[Worker]:
    """It runs while the block does; `states` is the folder of what it keeps."""
    ops = free_address()
    environment = {
        "POSTBACKS_KAFKA": kafka,
        "POSTBACKS_PARTITIONS": str(partitions),
        "POSTBACKS_STORE": store,
        "POSTBACKS_DATA": str(states),
        "POSTBACKS_OPS": ops,
        "POSTBACKS_LOG_LEVEL": "warning",
    }
    with running("streams", environment=environment) as process:
        yield Worker(process, ops)
