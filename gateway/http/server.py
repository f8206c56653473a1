"""The public port: limits the number of connections, reaps slow ones, and shuts down gracefully.

`gateway.http.connection` handles one connection, `gateway.app` the requests.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import hdrs, web

from gateway.http.connection import Connection, Handler
from gateway.http.response import RETRY_AFTER_SECONDS
from runtime.errors import InvalidSetting
from runtime.metrics import CONNECTIONS
from runtime.process import wait_up_to

BACKLOG = 1024
#: Generous number of files that a gateway opens besides its connections.
OTHER_FILES = 200
POLL_INTERVAL = 0.5
#: Seconds to finish requests in flight at shutdown; slower ones are cancelled.
SHUTDOWN_TIMEOUT = 12.0
#: Seconds for cancelled handlers to finish.
CANCEL_TIMEOUT = 1.0
#: Seconds to read on after responding before the end of the body, lest a reset destroys the response.
LINGER_TIMEOUT = 2.0
#: Limits in bytes of the request line and of a header field, and of the number of headers.
MAX_LINE_BYTES, MAX_FIELD_BYTES, MAX_HEADERS = 8_190, 8_190, 64


@dataclass(frozen=True)
class ConnectionLimits:
    """Timeouts in seconds. `request_timeout` is for a request to arrive, or a response to be read."""

    max_connections: int
    request_timeout: float
    idle_timeout: float


@dataclass(frozen=True)
class ListenOptions:
    """Where and how to listen."""

    #: `host:port`; port 0 takes a free one.
    address: str
    tls: ssl.SSLContext | None = None
    #: Whether other processes listen on the same port; the kernel spreads connections over them.
    reuse_port: bool = False


class HttpServer:
    """The open connections; their `Listener`. At the limit, a new one evicts the one idle for longest."""

    def __init__(self, handler: Handler, limits: ConnectionLimits) -> None:
        self._handler = handler
        self._limits = limits
        self._manager = web.Server(self._dispatch)
        self._open: set[Connection] = set()
        self._idle: dict[Connection, None] = {}  # longest idle first
        #: Includes requests whose client has disconnected.
        self._active_requests = 0
        self._drained = asyncio.Event()
        self.closing = False

    def connect(self) -> Connection:
        """Create a connection; a protocol factory for asyncio."""
        return Connection(
            self._manager,
            self._handler,
            self,
            self._limits.request_timeout,
            keepalive_timeout=self._limits.idle_timeout,
            lingering_time=LINGER_TIMEOUT,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
            access_log=None,
        )

    def on_open(self, connection: Connection) -> None:
        self._open.add(connection)
        CONNECTIONS.set(len(self._open))
        if len(self._open) > self._limits.max_connections:
            if not self._idle:
                connection.reject(503, "Too many connections", {hdrs.RETRY_AFTER: RETRY_AFTER_SECONDS})
                return
            next(iter(self._idle)).force_close()
        self._idle[connection] = None

    def on_request(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def on_idle(self, connection: Connection) -> None:
        self._active_requests -= 1
        if connection in self._open:
            self._idle[connection] = None
        else:
            self._check_drained()

    def on_close(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)
        CONNECTIONS.set(len(self._open))
        self._check_drained()

    async def shutdown(self) -> None:
        """Finish the requests in flight, and close all connections; the listening socket is closed before.

        Takes at most SHUTDOWN_TIMEOUT and twice CANCEL_TIMEOUT.
        """
        self.closing = True
        await asyncio.sleep(0)  # read requests that have already arrived
        for connection in list(self._idle):
            connection.force_close()
        self._check_drained()
        await wait_up_to(SHUTDOWN_TIMEOUT, self._drained)
        await self._manager.shutdown(CANCEL_TIMEOUT)

    def _check_drained(self) -> None:
        if self.closing and not self._open and not self._active_requests:
            self._drained.set()

    def _dispatch(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        connection = request.protocol
        assert isinstance(connection, Connection)
        self._active_requests += 1
        return connection.handle(request)

    async def reap(self) -> None:
        """Check all connections' timeouts until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            now = asyncio.get_running_loop().time()
            for connection in list(self._open):
                connection.check_timeouts(now)


@asynccontextmanager
async def open_port(handler: Handler, listen: ListenOptions, limits: ConnectionLimits) -> AsyncIterator[str]:
    """Serve while the block runs; yields the actual `host:port`. Shuts down gracefully at its end.

    Raises:
        InvalidSetting: the address is unusable, or the system does not allow as many connections.
    """
    _require_open_files(limits.max_connections + OTHER_FILES)
    server = HttpServer(handler, limits)
    host, _, port = listen.address.rpartition(":")
    tls_timeout = limits.request_timeout if listen.tls else None
    try:
        listener = await asyncio.get_running_loop().create_server(
            server.connect,
            host.strip("[]"),
            int(port),
            backlog=BACKLOG,
            ssl=listen.tls,
            ssl_handshake_timeout=tls_timeout,
            ssl_shutdown_timeout=tls_timeout,
            reuse_port=listen.reuse_port or None,
        )
    except OSError as error:
        raise InvalidSetting(f"POSTBACKS_LISTEN={listen.address}: cannot be used: {error.strerror}") from None
    reaper = asyncio.create_task(server.reap())
    try:
        yield f"{host}:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await server.shutdown()
        reaper.cancel()


def _require_open_files(count: int) -> None:
    """Raise the soft limit of open files if needed, up to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise InvalidSetting(
            f"POSTBACKS_CONNECTIONS={count - OTHER_FILES}: must be {max(hard - OTHER_FILES, 1)} at most, "
            f"as the system allows this process {hard} open files (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
