"""A gateway in plain aiohttp, as documented: read the form, `send_and_wait`, 200.

`python -m benchmarks.baselines.aiohttp_send KAFKA` runs until killed; it prints `host:port` once it listens.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from aiohttp import web
from aiokafka import AIOKafkaProducer

from benchmarks.baselines.naive_postback import ACCOUNTS, record_of

PRODUCER = web.AppKey("producer", AIOKafkaProducer)


def make_app(kafka: str) -> web.Application:
    async def producer(app: web.Application) -> AsyncIterator[None]:
        async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as app[PRODUCER]:
            yield

    async def postback(request: web.Request) -> web.Response:
        account = ACCOUNTS.get(request.match_info["token"])
        if account is None:
            raise web.HTTPNotFound
        body = await request.read()
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            topic, key, value = record_of(form, body, account, request.query_string, request.remote or "")
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        await request.app[PRODUCER].send_and_wait(topic, value, key)
        return web.Response(text="Kept\n")

    app = web.Application()
    app.cleanup_ctx.append(producer)
    app.router.add_post("/postback/{token}", postback)
    return app


async def main(kafka: str) -> None:
    runner = web.AppRunner(make_app(kafka), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    print(f"{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
