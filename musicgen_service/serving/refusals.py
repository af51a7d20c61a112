"""Requests that are refused, and how the client is told."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from musicgen_service.serving import json_text

BROKEN = "Something went wrong inside the service."
BROKE_DOWN = "The service broke down in this request: try again in a moment."
SHUT_DOWN = "The service is shutting down and gave this prediction up."
LOST = "The service ended in this prediction: ask for it again."
"""The error of predictions that had not ended when the service was killed."""
GIVEN_UP = (BROKE_DOWN, SHUT_DOWN, LOST)
"""Errors of predictions that failed through the service, not through what they asked for."""


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
        self.content: dict[str, Any] = {"error": sentence, "status": "failed"} | ({"detail": detail} if detail else {})
        self.retry_after = retry_after if retry_after is not None or status != 503 else 5

    @property
    def headers(self) -> dict[str, str]:
        """Those of the response besides the usual ones."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def response(self) -> Response:
        """The response that says so."""
        return reply(self.status, self.content, self.headers)


def reply(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON object."""
    return Response(json_text.encode(content), status, headers, "application/json")


def problem(refusal: Refusal) -> Response:
    """The response to a client of the hosted platform (RFC 9457)."""
    places = [f"{'.'.join(problem['loc'][1:])}: {problem['msg']}" for problem in refusal.content.get("detail", ())]
    detail = " ".join(places) or str(refusal)
    title = HTTPStatus(refusal.status).phrase
    return reply(refusal.status, {"title": title, "detail": detail, "status": refusal.status}, refusal.headers)


_Handlers = dict[Any, Callable[[Request, Exception], Awaitable[Response]]]


def _handlers(response: Callable[[Refusal], Response]) -> _Handlers:
    """What an application answers when a handler of requests raises an exception.

    Parameters
    ----------
    response : the form of a refusal
    """

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return response(error)

    async def no_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.method == "OPTIONS" and error.status_code == 405:
            return Response(status_code=204, headers=error.headers)
        sentences = {
            404: "There is nothing here: post predictions to /predictions.",
            405: f"{request.method} is not possible here.",
        }
        answer = response(Refusal(error.status_code, sentences.get(error.status_code, str(error.detail))))
        answer.headers.update(error.headers or {})
        return answer

    async def broken(request: Request, error: Exception) -> Response:
        return response(Refusal(500, BROKEN))

    return {Refusal: refused, HTTPException: no_route, Exception: broken}


HANDLERS = _handlers(Refusal.response)
PROBLEM_HANDLERS = _handlers(problem)
"""The same for clients of the hosted platform."""
