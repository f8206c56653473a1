"""The number of a port that several processes share, held for them while they come and go."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from runtime.errors import InvalidSetting

#: Seconds to wait for a port in use: processes whose parent was killed may take so long to be gone.
CLOSE_TIMEOUT = 20.0
POLL_INTERVAL = 0.2

log = structlog.get_logger(__name__)


@asynccontextmanager
async def reserve_port(listen: str, stop: asyncio.Event) -> AsyncIterator[str]:
    """Bind it while the block runs, without listening; yields the address in use (port 0 takes a free one).

    Whoever shares a port shares it with all of the same user, so that a second gateway would by mistake get a
    part of this one's connections. Hence it is first bound alone, which fails while anybody listens.

    Raises:
        BadSetting: the address cannot be used, or is in use and stays so for a while, or until `stop` is set.
    """
    host, _, number = listen.rpartition(":")
    clock = asyncio.get_running_loop().time
    deadline = clock() + CLOSE_TIMEOUT
    told = False
    while True:
        try:
            alone = await _bind(host, int(number), shared=False)
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or stop.is_set() or clock() > deadline:
                raise InvalidSetting(f"POSTBACKS_LISTEN={listen}: cannot be used: {error.strerror}") from None
        if not told:
            log.warning("The port is in use; it may become free", address=listen, seconds=CLOSE_TIMEOUT)
            told = True
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), POLL_INTERVAL)
    port = alone.sockets[0].getsockname()[1]
    alone.close()
    held = await _bind(host, port, shared=True)
    try:
        yield f"{host}:{port}"
    finally:
        held.close()


async def _bind(host: str, port: int, shared: bool) -> asyncio.Server:
    """As a server of asyncio's, so that names mean here what they mean where the port is opened."""
    return await asyncio.get_running_loop().create_server(
        asyncio.Protocol, host.strip("[]"), port, reuse_port=shared or None, start_serving=False
    )
