"""Who may use the service, and how often."""

import math
import re

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from musicgen_service.serving import clients
from musicgen_service.serving.api_keys import ApiKeys
from musicgen_service.serving.rates import Rate
from musicgen_service.serving.refusals import Refusal, problem

_UNCOUNTED = re.compile(r"/|/page/.*|/livez|/readyz|/files/[^/]+/.*", re.DOTALL)
"""What may be read without a key and at any rate: what there is, the page's own files, the probes, and files of results
and uploads, whose addresses nobody can guess."""
_HEARD = re.compile(r"/predictions/[^/]+/audio")
"""What may be read by a token in the place of a key, as browsers send no header with `<audio>` and `EventSource`."""
_HEALTH = "/health-check"
"""It may be read without a key, too, but probes do not need it."""
_READING = ("GET", "HEAD")
_CREDENTIALS = re.compile(r"\s*(?:Bearer|Token)\s+(\S+)\s*", re.IGNORECASE)
"""Clients of the hosted platform send `Token`."""


class Access:
    """Middleware that refuses requests without a valid API key, and more of them than one client may send.

    Parameters
    ----------
    app : the application
    keys : those that are valid; None when nobody needs one
    requests : how many of them a client may send
    shows_metrics : whether the metrics may be read without a key
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys | None, requests: Rate, *, shows_metrics: bool) -> None:
        self._app = app
        self._keys = keys
        self._requests = requests
        self._shows_metrics = shows_metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or self._is_uncounted(scope):
            await self._app(scope, receive, send)
            return
        is_open = scope["method"] in _READING and (scope["path"] == _HEALTH or _has_token(scope))
        refusal = None if is_open else self._identify(scope)
        # Those without a valid key count as well, for their address.
        if wait := self._requests.take(clients.owner(Request(scope))):
            refusal = Refusal(429, "You send too many requests: try again later.", retry_after=math.ceil(wait))
        if refusal is None:
            await self._app(scope, receive, send)
            return
        response = problem(refusal) if scope["path"].startswith("/v1/") else refusal.response()
        if refusal.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)

    def _identify(self, scope: Scope) -> Refusal | None:
        """Note whose key came with a request; returns why it is refused, or None."""
        if self._keys is None:
            return None
        given = Headers(scope=scope).get("authorization")
        if given is None:
            return Refusal(401, "An API key is needed, in the header Authorization: Bearer KEY.")
        found = _CREDENTIALS.fullmatch(given)
        name = self._keys.name_of(found[1]) if found else None
        if name is None:
            return Refusal(401, "The API key is not valid; it belongs in the header Authorization: Bearer KEY.")
        clients.remember_key(scope, name)
        return None

    def _is_uncounted(self, scope: Scope) -> bool:
        """Whether a request needs no key and has no limit."""
        method, path = scope["method"], scope["path"]
        if method in _READING:
            return _UNCOUNTED.fullmatch(path) is not None or (self._shows_metrics and path == "/metrics")
        # A browser asks with it whether it may send a key.
        return bool(method == "OPTIONS")


def _has_token(scope: Scope) -> bool:
    """Whether a request has a token, which the route looks at."""
    return _HEARD.fullmatch(scope["path"]) is not None and "token" in Request(scope).query_params
