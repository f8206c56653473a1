"""The ceiling of our gateway: its HTTP server, parser and responses, with a sink that stores nothing.

`python -m benchmarks.baselines.ceiling` runs until killed; it prints `host:port`. As it does not use Kafka,
the gateway is slower by the cost of storing a postback.
"""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import uvloop

from benchmarks.baselines.naive_postback import TOKENS
from gateway.app import Gateway
from gateway.auth.accounts_file import AccountStore
from gateway.http.server import ConnectionLimits, ListenOptions, open_port
from gateway.sink import Durability
from runtime.logging import configure_logs
from runtime.settings import load_settings


class NullSink:
    """A `gateway.sink.Sink` that stores nothing."""

    unavailable_reason = None

    async def put(self, topic: str, key: bytes, value: bytes) -> Durability:
        return Durability.REPLICATED


async def main() -> None:
    configure_logs("warning", "text")  # standard output is for the address
    settings = load_settings({})
    listen = ListenOptions("127.0.0.1:0")
    accounts = AccountStore(TOKENS, "", listen.address)
    accounts.load()
    gateway = Gateway(accounts, (), NullSink(), settings.body_limit, time.time, lambda: uuid4().hex)
    limits = ConnectionLimits(settings.connections, settings.request_timeout, settings.idle_timeout)
    async with open_port(gateway, listen, limits) as address:
        print(address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
