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
    return address(request.client.host if request.client else "") if name is None else f"key:{name}"


def address(host: str) -> str:
    """What stands for a client without a key: its IPv4 address, or of its IPv6 address the network that is all its own.

    Parameters
    ----------
    host : its IP address; empty when it has none
    """
    if not host:
        return ""
    found = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _NETWORK), strict=False))


def key_name(request: Request) -> str | None:
    """The name of the API key that came with a request; None without one."""
    name: str | None = request.scope.get("state", {}).get(_KEY_NAME)
    return name


def remember_key(scope: Scope, name: str) -> None:
    """Note the name of the API key that came with a request."""
    scope.setdefault("state", {})[_KEY_NAME] = name
