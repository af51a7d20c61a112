"""Refuses requests whose end, or whose version of HTTP, a proxy before the service could read differently.

The HTTP server accepts them as the standard lets it (RFC 9112, section 6.1). A proxy that reads them otherwise would
take the rest of one client's request for the next one.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from musicgen_service.serving.refusals import Refusal


class Framing:
    """Middleware that refuses such requests, and closes their connection.

    Parameters
    ----------
    app : the application
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        refusal = _refusal(scope["http_version"], Headers(scope=scope)) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        response = refusal.response()
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


def _refusal(version: str, headers: Headers) -> Refusal | None:
    if version not in ("1.0", "1.1"):
        return Refusal(400, "The service speaks HTTP 1.0 and 1.1.")
    if "transfer-encoding" in headers:
        if "content-length" in headers:
            return Refusal(400, "A request may have either Content-Length or Transfer-Encoding.")
        if version == "1.0":
            return Refusal(400, "A request of HTTP 1.0 has no Transfer-Encoding.")
    return None
