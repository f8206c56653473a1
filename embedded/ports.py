"""Loopback ports for the embedded engines."""

from __future__ import annotations

import socket

from runtime.errors import StartupError

HOST = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """Return a socket bound to a loopback port (0: a free one), not listening yet.

    Raises:
        StartupError: the port is in use.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise StartupError(f"{HOST}:{port} cannot be used: {error.strerror}; choose another --port") from None
    return bound
