"""Who a request comes from."""

import ipaddress

from starlette.requests import Request
from starlette.types import Scope

_NETWORK = 64
"""Bits of an IPv6 address that one client keeps."""
_KEY_NAME = "key_name"


def owner(request: Request) -> str:
    """The client of a request, who alone may see and cancel what it asks for: its key's name, or else its address."""
    name = key_name(request)
    return address(request) if name is None else f"key:{name}"


def address(request: Request) -> str:
    """The address of a client; of an IPv6 address, the network that one client has."""
    host = request.client.host if request.client else ""
    found = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _NETWORK), strict=False))
    return host


def key_name(request: Request) -> str | None:
    """The name of the API key that came with a request; None without one."""
    name: str | None = request.scope.get("state", {}).get(_KEY_NAME)
    return name


def remember_key(scope: Scope, name: str) -> None:
    """Note the name of the API key that came with a request."""
    scope.setdefault("state", {})[_KEY_NAME] = name
