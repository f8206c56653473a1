"""A gateway in FastAPI and uvicorn (uvloop, httptools): read the form, `send_and_wait`, 200.

`python -m benchmarks.baselines.fastapi_send KAFKA` runs until killed; it prints `host:port` once it listens.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, HTTPException, Request

from benchmarks.baselines.naive_postback import ACCOUNTS, record_of


def make_app(kafka: str, address: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as app.state.producer:
            print(address, flush=True)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/postback/{token}")
    async def postback(token: str, request: Request) -> str:
        if token not in ACCOUNTS:
            raise HTTPException(404)
        body = await request.body()
        form = {name: str(value) for name, value in (await request.form()).items()}
        assert request.client
        try:
            topic, key, value = record_of(form, body, ACCOUNTS[token], request.url.query, request.client.host)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        await app.state.producer.send_and_wait(topic, value, key)
        return "Kept"

    return app


def main(kafka: str) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        make_app(kafka, address), loop="uvloop", http="httptools", log_level="warning", access_log=False
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
