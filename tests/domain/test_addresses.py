from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.addresses import is_loopback, refusal

# The fourteen that guards usually let through.
AWKWARD = [
    "100.64.0.1",
    "192.88.99.1",
    "168.63.129.16",
    "224.0.0.1",
    "::7f00:1",
    "::ffff:0:7f00:1",
    "::5efe:7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "fec0::1",
    "ff02::1",
    "3fff::1",
    "5f00::1",
]
ORDINARY = [
    "0.0.0.0",  # noqa: S104 - an address under test, nothing binds to it
    "10.1.2.3",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1:ffff::7f00:1",
    "100::1",
    "100:0:0:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:a9fe:a9fe::",
    "2606:4700::5efe:a00:1",
    "2606:4700::200:5efe:7f00:1",
    "2620:4f:8000::1",
    "3ffe::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "168.63.129.15",
    "192.0.1.1",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "64:ff9b::808:808",
]
# The special-purpose registries, written down apart from the table under test.
REGISTRY = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]


@pytest.mark.parametrize("text", AWKWARD + ORDINARY)
def test_an_address_that_is_not_public_unicast_is_refused(text: str) -> None:
    assert refusal(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_let_through(text: str) -> None:
    assert refusal(ip_address(text)) is None


@pytest.mark.parametrize("text", REGISTRY)
def test_both_ends_of_every_special_range_are_refused(text: str) -> None:
    network = ip_network(text)
    assert refusal(network[0])
    assert refusal(network[-1])


@given(st.integers(0, 2**32 - 1))
def test_a_nat64_address_is_judged_by_what_it_carries(number: int) -> None:
    carried = ip_address(number)
    translated = ip_address(int(ip_address("64:ff9b::")) + number)
    assert refusal(translated) == refusal(carried)


@given(st.ip_addresses(v=4))
def test_whatever_python_calls_private_is_refused(address: IPv4Address) -> None:
    if address.is_private or address.is_multicast or address.is_reserved:
        assert refusal(address)


@given(st.ip_addresses(v=6))
def test_whatever_python_calls_private_in_ipv6_is_refused(address: IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_site_local:
        assert refusal(address)


def test_loopback_is_recognised_only_undisguised() -> None:
    assert is_loopback(ip_address("127.3.2.1"))
    assert is_loopback(ip_address("::1"))
    for disguised in ("::ffff:127.0.0.1", "::7f00:1", "2002:7f00:1::1", "64:ff9b::7f00:1", "::1%lo"):
        assert not is_loopback(ip_address(disguised))
