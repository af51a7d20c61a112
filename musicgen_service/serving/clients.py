"""Who a request comes from, and how much may go on for each client."""

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.types import Scope

from musicgen_service.serving.refusals import Refusal

_NETWORK = 64
"""Bits of an IPv6 address that one client keeps."""
_KEY_NAME = "key_name"


class AtOnce:
    """Limits how many things of one client may go on at the same time.

    Parameters
    ----------
    maximum : of one client
    sentence : what a client is told that has so many
    retry_after : seconds after which it may try again
    """

    def __init__(self, maximum: int, sentence: str, retry_after: int) -> None:
        self._maximum = maximum
        self._sentence = sentence
        self._retry_after = retry_after
        self._going_on = Counter[str]()

    @contextmanager
    def one_more(self, client: str) -> Iterator[None]:
        """Count something of a client for the block.

        Raises
        ------
        Refusal
            When there would be too many.
        """
        if self._going_on[client] >= self._maximum:
            raise Refusal(429, self._sentence, retry_after=self._retry_after)
        self._going_on[client] += 1
        try:
            yield
        finally:
            self._going_on[client] -= 1
            if not self._going_on[client]:
                del self._going_on[client]


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
