"""The client's address: the peer, or what trusted proxies report; never what the client claims."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.networks import read_address, read_networks
from gateway.http.proxy_headers import client_address

PROXIES = read_networks("10.0.0.0/8, 2001:db8:1::/48")


def test_header_is_ignored_without_trusted_proxies() -> None:
    assert client_address("203.0.113.7", ["198.51.100.1"], ()) == "203.0.113.7"


def test_header_of_an_untrusted_peer_is_ignored() -> None:
    assert client_address("203.0.113.7", ["198.51.100.1"], PROXIES) == "203.0.113.7"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]:4711, 2001:db8:1::1"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ([], "10.0.0.1"),
    ],
)
def test_rightmost_untrusted_address_is_the_client(forwarded: list[str], client: str) -> None:
    assert client_address("10.0.0.1", forwarded, PROXIES) == client


@pytest.mark.parametrize("hop", ["", "unknown", "_hidden", "203.0.113", "1.2.3.4.5", "[", "[]", "[::1"])
def test_invalid_address_of_a_proxy_gives_none(hop: str) -> None:
    assert client_address("10.0.0.1", [f"198.51.100.1, {hop}"], PROXIES) == ""


@given(st.text(), st.lists(st.text(alphabet="0123456789abcdef.:,[] \x00é", max_size=60)))
def test_any_header_gives_an_address_or_none(peer: str, forwarded: list[str]) -> None:
    for sender in (peer, "10.0.0.1"):
        client = client_address(sender, forwarded, PROXIES)
        assert not client or read_address(client)
