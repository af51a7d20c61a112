"""Requests that are refused, and how the client is told."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from musicgen_service.serving import json_text

BROKEN = "Something went wrong inside the service."


class Refusal(Exception):
    """A request is refused.

    Parameters
    ----------
    status : HTTP status
    sentence : what was wrong, and what is allowed
    detail : the locations of invalid inputs, in the format of Cog's validation errors
    retry_after : seconds after which the client may try again; by default 5 for status 503, and none for others
    """

    def __init__(
        self,
        status: int,
        sentence: str,
        detail: list[dict[str, Any]] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.content = {"error": sentence, "status": "failed"} | ({"detail": detail} if detail else {})
        self.retry_after = retry_after if retry_after is not None or status != 503 else 5

    def response(self) -> Response:
        """The response that says so."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return reply(self.status, self.content, headers)


def reply(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON object."""
    return Response(json_text.encode(content), status, headers, "application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.method == "OPTIONS" and error.status_code == 405:
        return Response(status_code=204, headers=error.headers)
    sentences = {
        404: "There is nothing here: post predictions to /predictions.",
        405: f"{request.method} is not possible here.",
    }
    response = Refusal(error.status_code, sentences.get(error.status_code, str(error.detail))).response()
    response.headers.update(error.headers or {})
    return response


async def _broken(request: Request, error: Exception) -> Response:
    return Refusal(500, BROKEN).response()


HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    Refusal: _refused,
    HTTPException: _no_route,
    Exception: _broken,
}
"""What the application answers when a handler of requests raises an exception."""
