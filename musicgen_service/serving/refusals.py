"""Requests that are refused, and how the client is told."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from musicgen_service.serving import json_text


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
