"""SSRF guard for addresses that a caller names: what a URL means, and which addresses may be connected to.

A name is resolved once, every address it has is checked, and `app.images.pinned_adapter` connects to one of exactly
these. So it does not matter what the name resolves to a moment later, nor how another parser would read the URL.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias

import idna
from gevent.monkey import get_original

Address: TypeAlias = IPv4Address | IPv6Address
AddressRule: TypeAlias = Callable[[Address, int], bool]
"""Says whether a connection to this address and port is allowed."""
Resolver: TypeAlias = Callable[[str, int], Iterable[str]]
"""Returns the addresses of a name; raises `OSError` or `ValueError` where there are none. Blocks."""


class Reason(StrEnum):
    """Why an image was not fetched: for the log. A caller is told most of them in one and the same sentence."""

    MALFORMED = "malformed_url"
    NAME = "name_not_resolved"
    NAME_DEADLINE = "name_not_resolved_in_time"
    ADDRESS = "address_not_allowed"
    CONNECTION = "connection_failed"
    SILENCE = "server_silent"
    REDIRECT = "redirect_refused"
    STATUS = "http_status"
    ENCODING = "content_encoding"
    DEADLINE = "deadline"
    TYPE = "not_an_image"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    DAMAGED = "damaged"
    TOO_MANY_PIXELS = "too_many_pixels"


class NotFetched(Exception):
    """The image is not there, or may not be had."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


# Which addresses

_PORTS = frozenset({80, 443})
_GLOBAL_V6 = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
_REFUSED = tuple(
    map(
        ip_network,
        (
            # Not for the public, though `is_global` says so in some versions of Python.
            "192.0.0.0/24",  # IETF protocol assignments; the metadata service of one cloud
            "192.88.99.0/24",  # 6to4 relays
            "168.63.129.16/32",  # the host of a virtual machine, in one cloud
            "2001::/23",  # Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: any IPv4 address in disguise
            "3fff::/20",  # documentation
        ),
    )
)


def public_only(address: Address, port: int) -> bool:
    """Return True for an address of the public Internet and the ports 80 and 443. The rule in production.

    An IPv6 address that carries an IPv4 one (mapped, compatible, 6to4, Teredo) is refused whatever it carries; one
    made by a DNS64 resolver (64:ff9b::/96) is judged by what it carries.
    """
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return public_only(IPv4Address(int(address) & 0xFFFFFFFF), port)
        if address not in _GLOBAL_V6 or address.scope_id is not None:
            return False
    is_special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    is_refused = any(address.version == net.version and address in net for net in _REFUSED)
    return port in _PORTS and address.is_global and not (is_special or is_refused)


# Where to

_MAX_URL = 8192
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\\]")
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^\[\]:@%/?#]+))"
    r"(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<target>[/?][^#]*)?(?:#.*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class Location:
    """An http(s) URL, taken apart. `host` is an ASCII name or an address without brackets; no fragment."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.scheme) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL, put together again from what was understood."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_location(url: str) -> Location:
    """Take a URL apart. Raises `NotFetched(MALFORMED)`: credentials, odd hosts and odd spellings of IPv4, too.

    Whatever is accepted is still only a name: `resolve` decides whether it may be connected to.
    """
    match = _URL.fullmatch(url) if len(url) <= _MAX_URL and not _UNUSABLE.search(url) else None
    if match is None:
        raise NotFetched(Reason.MALFORMED)
    scheme = match["scheme"].lower()
    try:
        host = str(IPv6Address(match["six"])) if match["six"] else _ascii_host(match["name"])
        port = int(match["port"] or _default_port(scheme))
    except ValueError:
        raise NotFetched(Reason.MALFORMED) from None
    target = match["target"] or "/"
    return Location(scheme, host, port, target if target.startswith("/") else f"/{target}")


def _ascii_host(host: str) -> str:
    """Return the name or IPv4 address in its one spelling. Raises `ValueError`."""
    name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    name = name.lower().removesuffix(".")
    if not _NAME.fullmatch(name):
        raise ValueError("not a host name")
    # 127.1, 0x7f000001, 017700000001 and 2130706433 are all 127.0.0.1 to a resolver: only the plain form is taken.
    return str(IPv4Address(name)) if _ENDS_IN_NUMBER.fullmatch(name) else name


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def system_resolver(name: str, port: int) -> list[str]:
    """Ask the system. Blocks its thread: see `app.images.name_lookups`."""
    found = get_original("socket", "getaddrinfo")(name, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def resolve(location: Location, rule: AddressRule, resolver: Resolver) -> list[Address]:
    """Return the addresses to connect to, all of them allowed. Blocks.

    Raises `NotFetched`, also where only one of several addresses is not allowed: such a name is up to something.
    """
    try:
        found = [ip_address(text) for text in dict.fromkeys(_lookup(location, resolver))]
    except (OSError, ValueError):
        raise NotFetched(Reason.NAME) from None
    if not found:
        raise NotFetched(Reason.NAME)
    if not all(rule(address, location.port) for address in found):
        raise NotFetched(Reason.ADDRESS)
    return found


def _lookup(location: Location, resolver: Resolver) -> Iterable[str]:
    try:
        return [str(ip_address(location.host))]
    except ValueError:
        return resolver(location.host, location.port)
