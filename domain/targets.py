"""The URLs that webhooks may be sent to, judged by their text alone. What the name resolves to is judged at each send.

The URL is taken apart here, once; the sender connects with these parts, so no second parser can read it otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from domain.addresses import Address, is_loopback, refusal

MAX_URL = 2_048
_PRINTABLE = re.compile(r"[!-~]+")
_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `host` is lower case and without brackets; `path` begins with / and holds the query."""

    scheme: str
    host: str
    port: int
    path: str
    allow_loopback: bool = False

    @property
    def literal(self) -> Address | None:
        """The address, if the host is written as one."""
        return _literal(self.host)

    def refuses(self, address: Address) -> str | None:
        """Why the host may not be this address; None if it may. Plain http never leaves the machine."""
        if self.allow_loopback and is_loopback(address):
            return None
        if self.scheme == "http":
            return "http is only for loopback"
        return refusal(address)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a URL is not a target: a sentence for its owner."""

    reason: str


def parse_target(url: str, *, allow_loopback: bool = False) -> Target | Refusal:
    """The parts of a URL that a webhook may have, or why it may not have it.

    Allowed are https without credentials, to a DNS name or a public address, at port 443 or from 1024 on.
    `allow_loopback` lets http and https to this machine through: for development.
    """
    if len(url) > MAX_URL or not _PRINTABLE.fullmatch(url) or "\\" in url:
        return Refusal(f"A URL has at most {MAX_URL} printable ASCII characters and no backslash.")
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        return Refusal("This is not a URL.")
    reason = _refuse_scheme(split, allow_loopback=allow_loopback) or _refuse_host(split, allow_loopback=allow_loopback)
    if reason is not None:
        return Refusal(reason)
    port = _DEFAULT_PORTS[split.scheme] if port is None else port
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return _vetted(Target(split.scheme, _host(split), port, path, allow_loopback))


def _host(split: SplitResult) -> str:
    return (split.hostname or "").lower()


def _refuse_scheme(split: SplitResult, *, allow_loopback: bool) -> str | None:
    if split.scheme == "https" or (split.scheme == "http" and allow_loopback):
        return None
    return "The URL must begin with https://."


def _refuse_host(split: SplitResult, *, allow_loopback: bool) -> str | None:
    host = _host(split)
    if "@" in split.netloc:
        return "The URL must not contain credentials."
    if _literal(host) is not None:
        return None
    # The C library reads 0x7f.1, 2130706433 and 0177.0.0.1 as addresses; no DNS name ends in a number.
    if not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2]):
        return "The host must be a DNS name (an international one in its xn-- form) or an IP address."
    # What one label resolves to depends on the network that we are in: no public service has such a name.
    if "." not in host and not allow_loopback:
        return "The host's name must have a domain."
    return None


def _vetted(target: Target) -> Target | Refusal:
    if target.port < 1_024 and target.port != _DEFAULT_PORTS[target.scheme]:
        return Refusal("The port must be 443 or at least 1024.")
    address = target.literal
    if address is not None and target.refuses(address) is not None:
        return Refusal("The host must be public.")
    return target


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
