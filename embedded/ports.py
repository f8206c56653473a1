"""Loopback ports for the embedded engines."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from runtime import ports
from runtime.errors import StartupError

HOST = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """Return a socket bound to a loopback port (0: a free one), not listening yet.

    Raises:
        StartupError: the port is in use.
    """
    with _refused_if_used(port):
        return ports.bind(HOST, port)


@contextmanager
def reserve(port: int) -> Iterator[int]:
    """Reserve a loopback port (0: a free one) while the block runs; yields its number.

    Raises:
        StartupError: the port is in use.
    """
    with ExitStack() as reserved:
        with _refused_if_used(port):
            number = reserved.enter_context(ports.reserve(HOST, port))
        yield number


@contextmanager
def _refused_if_used(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartupError(f"{HOST}:{port} cannot be used: {error.strerror}; choose another --port") from None
