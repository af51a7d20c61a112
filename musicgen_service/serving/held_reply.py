"""Replies with files in them, which count as held until their clients have read them."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from musicgen_service.serving import json_text
from musicgen_service.serving.bodies import BodyMemory


class HeldReply(Response):
    """A reply with a JSON object that may be large.

    Parameters
    ----------
    status : HTTP status
    content : the object
    memory : counts it
    client : who asks for it
    is_refusable : whether the client may be refused for all that it holds: what is made for this reply alone may not
    """

    def __init__(
        self, status: int, content: Mapping[str, Any], memory: BodyMemory, client: str, *, is_refusable: bool = False
    ) -> None:
        super().__init__(json_text.encode(content), status, media_type="application/json")
        self._memory = memory
        self._client = client
        self._is_refusable = is_refusable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises
        ------
        Refusal
            When its client holds too much.
        """
        (self._memory.take if self._is_refusable else self._memory.hold)(self._client, len(self.body))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
            # Which waits until the client has read what comes before it.
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._memory.release(self._client, len(self.body))
