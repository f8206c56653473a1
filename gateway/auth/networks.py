"""Addresses and networks of the Internet Protocol, and who of them is whose. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


@lru_cache(maxsize=4096)
def read_address(text: str) -> Address | None:
    """The address; null when it is none. An IPv4 one that came over IPv6 is taken for the IPv4 one."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def read_network(text: str) -> Network:
    """A network such as 203.0.113.0/24 or 2001:db8::/32; an address alone is a network of one.

    Raises:
        ValueError: it is none, or bits are set beyond its mask.
    """
    return ip_network(text.strip())


def read_networks(text: str) -> tuple[Network, ...]:
    """Networks with commas between them; none for an empty text.

    Raises:
        ValueError: one is none.
    """
    return tuple(read_network(part) for part in text.split(",")) if text.strip() else ()


def within(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks; one that is not known is in none."""
    return address is not None and any(address in network for network in networks)
