"""Waiting for something on behalf of a client that may hang up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from musicgen_service.serving.refusals import Refusal

_T = TypeVar("_T")


class HungUp(Refusal):
    """The client has disconnected, so that nobody reads a reply."""

    def __init__(self) -> None:
        super().__init__(400, "The client has disconnected.")


async def unless_hung_up(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """Do work, which is cancelled when the client disconnects; returns its result.

    Parameters
    ----------
    receive : of a request whose body has been read

    Raises
    ------
    HungUp
        When the client disconnects first.
    """
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HungUp
        return await working
    finally:
        working.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
