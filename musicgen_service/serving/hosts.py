"""Which names the service answers to, and which web pages may use it.

A browser sends requests of any page to any address that it reaches, the loopback interface included. The reply is kept
from a page of another origin, unless the page's own name leads to the service (DNS rebinding): then `Host` has that
name. What a request changes is changed before the reply is kept back: so `Origin` is looked at, as Go's
CrossOriginProtection does. Starlette's TrustedHostMiddleware knows neither IPv6 addresses nor origins.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from musicgen_service.serving.refusals import Refusal

_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d*)?")
_MAX_QUOTED_LENGTH = 100
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Hosts:
    """Middleware that refuses requests to other names, and changes that pages of other origins ask for.

    Parameters
    ----------
    app : the application
    names : by which clients reach it, in lower case, besides those of the loopback interface
    origins : of pages that may use it; `*` for all
    is_local : whether it listens on the loopback interface, where without `names` it has no others
    """

    def __init__(self, app: ASGIApp, names: tuple[str, ...], origins: tuple[str, ...], is_local: bool) -> None:
        self._app = app
        self._names = names
        self._origins = origins
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http" and (refusal := self._refusal(scope["method"], Headers(scope=scope))):
            await refusal.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> Refusal | None:
        host = headers.get("host")
        # Every browser sends it.
        if host is not None and not self._answers_to(host):
            return Refusal(
                421, f"The service does not go by the name '{host[:_MAX_QUOTED_LENGTH]}'; MUSICGEN_HOSTS has its names."
            )
        if method not in _SAFE_METHODS and self._is_foreign(headers):
            return Refusal(
                403, "Web pages of other origins may not use the service, unless MUSICGEN_CORS_ORIGINS names them."
            )
        return None

    def _answers_to(self, host: str) -> bool:
        found = _HOST.fullmatch(host.lower())
        if found is None:
            return False
        name = found[1].removesuffix(".")
        if is_loopback(name) or name in self._names:
            return True
        # No name, so nothing that could lead to another address; and probes of orchestrators know no other.
        return not self._is_local and (not self._names or _address(name) is not None)

    def _is_foreign(self, headers: Headers) -> bool:
        """Whether a browser sends the request for a page of another origin, which may not use the service."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and ("*" in self._origins or origin.lower() in self._origins):
            return False
        if site is not None:
            return site not in ("same-origin", "none")
        # The scheme may differ: a proxy before the service may speak TLS.
        return origin is not None and _host_of(origin) != headers.get("host", "").lower()


def _host_of(origin: str) -> str | None:
    """The host and port of an origin; None for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """Whether a host is named as one of the loopback interface, by name or address."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address
