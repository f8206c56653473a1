"""Parses and matches IP addresses and networks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


@lru_cache(maxsize=4096)
def read_address(text: str) -> Address | None:
    """Parse an address; None if it is invalid. An IPv4-mapped IPv6 address becomes the IPv4 one."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def read_network(text: str) -> Network:
    """Parse a network such as 203.0.113.0/24 or 2001:db8::/32; an address alone is a network of one.

    Raises:
        ValueError: invalid, or host bits are set.
    """
    return ip_network(text.strip())


def read_networks(text: str) -> tuple[Network, ...]:
    """Parse comma-separated networks; none for an empty text.

    Raises:
        ValueError: one is invalid.
    """
    return tuple(read_network(part) for part in text.split(",")) if text.strip() else ()


def within(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks; None is in none."""
    return address is not None and any(address in network for network in networks)
