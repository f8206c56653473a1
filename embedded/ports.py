"""The ports of the embedded engines: loopback only, and a clear word when one is taken."""

from __future__ import annotations

import socket

from embedded.errors import CannotServe

HOST = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """A socket on that port of loopback, not listening yet; 0 takes a free one.

    Raises:
        CannotServe: somebody else has it.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise CannotServe(f"{HOST}:{port} cannot be used: {error.strerror}; choose another --port") from None
    return bound
