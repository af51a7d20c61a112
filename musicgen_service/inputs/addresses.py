"""Which machines may be asked for a file: those of the public internet."""

import ipaddress
import socket

from musicgen_service import settings

_SPECIAL = [ipaddress.ip_network(network) for network in ("192.0.0.0/24", "64:ff9b:1::/48")]
"""Private by their registration (RFC 6890, RFC 8215), public to Python; one cloud's metadata service is there."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses in which a translator finds an IPv4 address (RFC 6052)."""


class AddressError(ValueError):
    """The host cannot be resolved or must not be asked."""


def resolve(host: str, port: int) -> str:
    """The address to connect to, when every address of the host is public.

    `MUSICGEN_ALLOW_PRIVATE_URLS=1` allows all of them: for an intranet, and for tests.

    Raises
    ------
    AddressError
        For a host without an address, or one whose address is loopback, private, link-local (as the metadata
        services of clouds are), multicast or reserved.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise AddressError("its host name could not be resolved.") from None
    resolved = [str(entry[4][0]) for entry in found]
    if not settings.load().allow_private_urls and not all(map(is_public, resolved)):
        raise AddressError("its host is not on the public internet.")
    return resolved[0]


def is_public(address: str) -> bool:
    """Whether an IP address, and the IPv4 address it may carry, belongs to the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.teredo is not None:
            return False
        carried = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            carried = ipaddress.IPv4Address(ip.packed[-4:])
        if carried is not None:
            ip = carried
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in network for network in _SPECIAL))
