"""Who a request comes from."""

import ipaddress

from starlette.requests import Request

_NETWORK = 64
"""Bits of an IPv6 address that one client keeps."""


def owner(request: Request) -> str:
    """The client of a request, who alone may see and cancel what it asks for: its address."""
    host = request.client.host if request.client else ""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _NETWORK), strict=False))
    return host
