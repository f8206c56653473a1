"""`python -m tests.support.bare_worker`: a streams worker that joins its group before all topics exist."""

from __future__ import annotations

import asyncio

from runtime.health import Health, serve_ops
from runtime.kafka.clients import client_options, cluster_id
from runtime.process import run_process
from runtime.settings import Settings
from streams.__main__ import run_worker
from streams.contact import CONTACTS
from streams.message import MESSAGES


async def work(settings: Settings, stop: asyncio.Event) -> None:
    health, options = Health(), client_options(settings)
    async with serve_ops(settings.ops or "127.0.0.1:0", health):
        await run_worker(
            settings, options, await cluster_id(options), health, stop, {MESSAGES: None, CONTACTS: None}
        )


if __name__ == "__main__":
    run_process(work)
