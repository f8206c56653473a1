"""Finds the client's address of a request that came through proxies. Pure.

Each proxy appends the address of its peer to X-Forwarded-For. The header is read from the right, as long as
the address that added an entry is a trusted proxy. The first address that is not is the client; entries
further left are the client's own claim.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from gateway.auth.networks import Network, read_address, within

#: An address as proxies write it: with or without brackets and port.
_HOP = re.compile(r"\s*(?:\[([^\]]*)\](?::[0-9]+)?|([0-9.]+)(?::[0-9]+)?|([^\[\]]*?))\s*")


def client_address(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The client's address.

    Args:
        peer: the address of the connection's other end.
        forwarded: the values of X-Forwarded-For, in the order of the request.
        proxies: the networks of trusted proxies.

    Returns:
        The address in its canonical form; empty if a proxy named something else than an address.
    """
    client = peer
    hops = ",".join(forwarded).split(",") if forwarded and proxies else []
    while hops and within(read_address(client), proxies):
        client = _strip_port(hops.pop())
    return _canonical(client)


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    address = read_address(text)
    return "" if address is None else str(address)


def _strip_port(hop: str) -> str:
    match = _HOP.fullmatch(hop)
    return next(filter(None, match.groups()), "") if match else ""
