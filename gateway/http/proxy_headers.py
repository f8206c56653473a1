"""Who sent a request that came through proxies. Pure.

A proxy adds the address it was talked to from at the right end of X-Forwarded-For. What stands there is
believed from right to left, as long as the one who says it is a proxy of ours: the first who is none is the
client, and whatever he wrote himself stands further left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from gateway.auth.networks import Network, read_address, within

#: An address as proxies write it: in brackets or not, with a port or without.
_HOP = re.compile(r"\s*(?:\[([^\]]*)\](?::[0-9]+)?|([0-9.]+)(?::[0-9]+)?|([^\[\]]*?))\s*")


def client_address(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The client's address.

    Args:
        peer: the address at the other end of the connection.
        forwarded: the values of X-Forwarded-For, as they stand in the request.
        proxies: the networks of those who are believed.

    Returns:
        Its usual spelling; an empty text when a proxy names somebody by what is no address.
    """
    if not (forwarded and proxies):
        return _spelled(peer)
    client = read_address(peer)
    hops = ",".join(forwarded).split(",")
    while hops and within(client, proxies):
        client = read_address(_bare(hops.pop()))
    return "" if client is None else str(client)


@lru_cache(maxsize=4096)
def _spelled(peer: str) -> str:
    client = read_address(peer)
    return "" if client is None else str(client)


def _bare(hop: str) -> str:
    match = _HOP.fullmatch(hop)
    return next(filter(None, match.groups()), "") if match else ""
