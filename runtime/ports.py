"""Reserves ports for processes that open them later.

A port that was free a moment ago may be in use once a process opens it: the system gives it to any server
that asks for a free one. A socket that is bound, and does not listen, prevents that. On Linux a process can
open the port all the same if both sockets have SO_REUSEADDR, as those of asyncio, uvloop and Java have.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to the port (0: a free one), not listening yet.

    Raises:
        OSError: the port is in use.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host.strip("[]"), port))
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def reserve(host: str, port: int) -> Iterator[int]:
    """Reserve the port (0: a free one) while the block runs; yields its number. Elsewhere than on Linux it
    is free again at once.

    Raises:
        OSError: the port is in use.
    """
    with bind(host, port) as bound:
        number = int(bound.getsockname()[1])
        if sys.platform != "linux":
            bound.close()
        yield number
