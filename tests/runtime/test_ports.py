"""Reserved ports."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable

import pytest
import uvloop

from runtime.ports import reserve

HOST = "127.0.0.1"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ports are reserved on Linux only")


async def serve_once(port: int) -> bytes:
    """Open the port as a server of ours does, and return what it answers."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"served")
        writer.close()

    async with await asyncio.start_server(answer, HOST, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_reserved_port_can_be_served_repeatedly(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with reserve(HOST, 0) as port, asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(serve_once(port)) == b"served"
        assert runner.run(serve_once(port)) == b"served"


def test_reserved_port_is_in_use_for_others() -> None:
    with reserve(HOST, 0) as port, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, port))


def test_reserved_port_is_free_after_the_block() -> None:
    with reserve(HOST, 0) as port:
        pass
    with socket.socket() as other:
        other.bind((HOST, port))


def test_port_of_a_server_cannot_be_reserved() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OSError, match="in use"), reserve(HOST, port):
            pass
