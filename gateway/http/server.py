"""The public port: how many may be connected, how long a client may take, and how it closes in good order.

What a single connection knows is in `gateway.http.connection`; what requests are answered, in `gateway.app`.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from aiohttp import hdrs, web

from gateway.http.connection import Connection
from gateway.http.response import RETRY_AFTER_SECONDS
from runtime.errors import InvalidSetting
from runtime.metrics import CONNECTIONS

BACKLOG = 1024
#: Files that a gateway opens besides its connections, with much to spare.
OTHER_FILES = 200
POLL_INTERVAL = 0.5
#: Seconds to answer what is in hand after SIGTERM; whoever is slower is cut off.
SHUTDOWN_TIMEOUT = 12.0
#: Seconds that handlers then have to come to an end.
CANCEL_TIMEOUT = 1.0
#: Seconds to read on after an answer that did not wait for the body, so that it is not lost in a reset.
LINGER_TIMEOUT = 2.0
#: Bytes of a request's first line, of a header's name and of its value; and how many headers there may be.
LINE_BYTES, FIELD_BYTES, FIELDS = 8_190, 8_190, 64

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    """What clients may take: connections at a time, and seconds for a request, and between two."""

    connections: int
    request_seconds: float
    idle_seconds: float


class HttpServer(web.Server):
    """All connections. When there are too many, the one that rests longest makes room."""

    def __init__(self, handler: Handler, patience: ConnectionLimits) -> None:
        super().__init__(self._handle)
        self._handler = handler
        self._patience = patience
        self._open: set[Connection] = set()
        self._resting: dict[Connection, None] = {}  # in the order in which they began to
        self._in_hand = 0
        self._closing = False
        self._done = asyncio.Event()

    def __call__(self) -> Connection:
        return Connection(
            self,
            keepalive_timeout=self._patience.idle_seconds,
            lingering_time=LINGER_TIMEOUT,
            max_line_size=LINE_BYTES,
            max_field_size=FIELD_BYTES,
            max_headers=FIELDS,
            auto_decompress=False,
            access_log=None,
        )

    # -- what connections say of themselves

    def enter(self, connection: Connection) -> None:
        """It is open."""
        self._open.add(connection)
        CONNECTIONS.set(len(self._open))
        if len(self._open) > self._patience.connections:
            if not self._resting:
                connection.turn_away(503, "Too many connections", {hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS})
                return
            next(iter(self._resting)).force_close()
        self.rest(connection)

    def work(self, connection: Connection) -> None:
        """A request comes in on it."""
        self._resting.pop(connection, None)

    def rest(self, connection: Connection) -> None:
        """It waits for the next request."""
        if connection in self._open:
            self._resting[connection] = None

    def leave(self, connection: Connection) -> None:
        """It is gone."""
        self._open.discard(connection)
        self._resting.pop(connection, None)
        CONNECTIONS.set(len(self._open))
        self._tell_if_done()

    # -- what is done to them

    async def look(self) -> None:
        """Cut off who is too slow, again and again."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            now = asyncio.get_running_loop().time()
            for connection in list(self._open):
                connection.look(now, self._patience.request_seconds)

    async def end(self) -> None:
        """Let nobody ask again, answer what is in hand, and close, all within some seconds."""
        self._closing = True
        await asyncio.sleep(0)  # who has asked already is heard
        for connection in list(self._resting):
            connection.force_close()
        self._tell_if_done()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._done.wait(), SHUTDOWN_TIMEOUT)
        await self.shutdown(CANCEL_TIMEOUT)

    def _tell_if_done(self) -> None:
        """A request may outlive its connection: whose client left is in hand all the same."""
        if self._closing and not self._open and not self._in_hand:
            self._done.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.begin(request)
        self._in_hand += 1
        response: web.StreamResponse | None = None
        try:
            response = await self._handler(request)
            if self._closing:
                response.force_close()
            return response
        finally:
            connection.end(last=response is None or response.keep_alive is False)
            self._in_hand -= 1
            self._tell_if_done()


@asynccontextmanager
async def open_port(
    handler: Handler,
    listen: str,
    patience: ConnectionLimits,
    tls: ssl.SSLContext | None,
    shared: bool = False,
) -> AsyncIterator[str]:
    """The port, open while the block runs; yields the address in use (port 0 takes a free one).

    At the end nobody new is let in, and who is in hand is answered.

    Args:
        shared: with other processes, each of which gets a part of the connections.

    Raises:
        BadSetting: the address cannot be used, or the system does not allow as many connections.
    """
    _demand_files(patience.connections + OTHER_FILES)
    port = HttpServer(handler, patience)
    host, _, number = listen.rpartition(":")
    try:
        server = await asyncio.get_running_loop().create_server(
            port,
            host.strip("[]"),
            int(number),
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=patience.request_seconds if tls else None,
            ssl_shutdown_timeout=patience.request_seconds if tls else None,
            reuse_port=shared or None,
        )
    except OSError as error:
        raise InvalidSetting(f"POSTBACKS_LISTEN={listen}: cannot be used: {error.strerror}") from None
    looking = asyncio.create_task(port.look())
    try:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await port.end()
        looking.cancel()


def _demand_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise InvalidSetting(
            f"POSTBACKS_CONNECTIONS={wanted - OTHER_FILES}: must be {max(hard - OTHER_FILES, 1)} at most, "
            f"as the system allows this process {hard} open files (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
