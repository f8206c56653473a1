"""A raw HTTP server that reacts to each request as the test says: respond, hang up, reset, stay silent."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

_LENGTH = b"\r\ncontent-length:"


class SeenRequest(NamedTuple):
    """A request that was read to its end."""

    connection: int
    target: str
    body: bytes


@dataclass
class RawServer:
    #: `host:port`.
    address: str
    requests: list[SeenRequest] = field(default_factory=list)
    connections: int = 0


#: Reacts to a request that was read; afterwards the connection stays open for the next one.
Reaction: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


def respond(body: bytes, status: str = "200 OK", headers: str = "") -> Reaction:
    """Send a complete response, and keep the connection open."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()
    return write(head + body)


def write(data: bytes) -> Reaction:
    """Send these bytes, and keep the connection open."""

    async def react(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return react


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close the connection without a response."""
    writer.close()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection without a response."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def stay_silent(writer: asyncio.StreamWriter) -> None:
    """Send nothing."""


def trickle(data: bytes, interval: float) -> Reaction:
    """Send a byte every so many seconds."""

    async def react(writer: asyncio.StreamWriter) -> None:
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(interval)

    return react


@asynccontextmanager
async def raw_server(*reactions: Reaction) -> AsyncIterator[RawServer]:
    """Run a server; the nth request gets the nth reaction, and all later ones the last."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        number = server.connections
        writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"expect: 100-continue" in head.lower():
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                _, _, after = head.lower().partition(_LENGTH)
                body = await reader.readexactly(int(after.split(b"\r\n")[0] or 0))
                server.requests.append(SeenRequest(number, head.split()[1].decode(), body))
                await reactions[min(len(server.requests), len(reactions)) - 1](writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    server = RawServer(f"{host}:{port}")
    try:
        yield server
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        await listener.wait_closed()
