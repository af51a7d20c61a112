"""Checks that a host is on the public internet before the service connects to it."""

import ipaddress
import socket

from musicgen_service import settings

_SPECIAL = [ipaddress.ip_network(network) for network in ("192.0.0.0/24", "64:ff9b:1::/48", "168.63.129.16/32")]
"""Global to Python, but private by registration (RFC 6890, RFC 8215), and with the metadata service of one cloud in it;
the last is what every machine of another cloud asks for its secrets."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that embed an IPv4 address for NAT64 (RFC 6052)."""


class AddressError(ValueError):
    """The host cannot be resolved or must not be connected to."""


def resolve(host: str, port: int) -> str:
    """Resolve a host to the IP address to connect to, provided that all its addresses are public.

    `MUSICGEN_ALLOW_PRIVATE_URLS=1` allows all of them: for an intranet, and for tests.

    Raises
    ------
    AddressError
        For a host without an address, or one whose address is loopback, private, link-local (as the metadata
        services of clouds are), multicast or reserved.
    """
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise AddressError("its host name could not be resolved.") from None
    resolved = [str(entry[4][0]) for entry in entries]
    if not settings.load().allow_private_urls and not all(map(is_public, resolved)):
        raise AddressError("its host is not on the public internet.")
    return resolved[0]


def is_public(address: str) -> bool:
    """Whether an IP address, or the IPv4 address embedded in it, is on the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.teredo is not None:
            return False
        embedded = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            embedded = ipaddress.IPv4Address(ip.packed[-4:])
        if embedded is not None:
            ip = embedded
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in network for network in _SPECIAL))
