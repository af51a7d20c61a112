"""What the modules with routes share."""

from collections.abc import Awaitable, Callable

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from musicgen_service.serving import prediction_request


class _AnyText(StringConvertor):
    """Takes what is no id, too, which is then refused with a sentence."""

    regex = r"[\s\S]*"


register_url_convertor("text", _AnyText())


def route(path: str, **handlers: Callable[[Request], Awaitable[Response]]) -> Route:
    """A route with a handler for each method."""

    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, handle, methods=list(handlers))


_PUBLIC_URL = "musicgen.public_url"


def known_as(application: ASGIApp, url: str) -> ASGIApp:
    """An application that tells clients an address of its own in the place of that of their requests."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        await application({**scope, _PUBLIC_URL: url}, receive, send)

    return wrapped


def base_url(request: Request) -> str:
    """The address of the service, as the client knows it."""
    return str(request.scope.get(_PUBLIC_URL) or f"{request.url.scheme}://{request.url.netloc}")


def preferences(request: Request) -> set[str]:
    """What the header `Prefer`, in one line or several, says in lower case."""
    return {word.strip().lower() for line in request.headers.getlist("prefer") for word in line.split(",")}


def prediction_id(request: Request) -> str:
    """The id in the address of a request, which the access log has, too.

    Raises
    ------
    Refusal
        When it is no plain name.
    """
    request.state.prediction = found = prediction_request.check_id(request.path_params["id"])
    return found
