"""The limit of our own handler: the gateway's port, parser and answers, with a sink that keeps nothing.

`python -m benchmarks.baselines.ceiling`, until it is ended; prints `host:port`. It talks to no Kafka and
loses everything: what the gateway does besides to keep a postback is what it is slower by.
"""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import uvloop

from benchmarks.baselines.naive_postback import ACCOUNTS
from gateway.app import Gateway
from gateway.auth.accounts import Account, AccountConfig, Accounts, Token
from gateway.http.server import ConnectionLimits, open_port
from gateway.sink import Durability
from runtime.settings import load_settings


class Nowhere:
    """A `gateway.sink.Sink` that forgets."""

    away = None

    async def keep(self, topic: str, key: bytes, value: bytes) -> Durability:
        return Durability.REPLICATED


async def main() -> None:
    settings = load_settings({})
    accounts = Accounts(AccountConfig(Account(name), (Token(token),)) for token, name in ACCOUNTS.items())
    gateway = Gateway(accounts, (), Nowhere(), settings.body_limit, time.time, lambda: uuid4().hex)
    patience = ConnectionLimits(settings.connections, settings.request_timeout, settings.idle_timeout)
    async with open_port(gateway, "127.0.0.1:0", patience, None) as address:
        print(address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
