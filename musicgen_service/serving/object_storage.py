"""Sends the files of results where the operator keeps them: `serve --upload-url`."""

import asyncio
from dataclasses import replace
from typing import Any

from musicgen_service.inputs import served_files
from musicgen_service.serving import outbound
from musicgen_service.serving.files import Files, Saved, media_type
from musicgen_service.serving.outbound import Address, AddressError
from musicgen_service.serving.refusals import Refusal

_TIMEOUT = 120.0
"""Seconds for a file to be received."""
_WAITS = (1.0, 5.0)
"""Seconds before a file is sent again."""


class ObjectStorage:
    """Where files are put, by HTTP.

    Cog's own option of that name appends the name of a file to the query, sends nothing that is inside an object, and
    returns files in the order in which they were received.

    Parameters
    ----------
    url : each file is put below it; its query, which may have a signature, goes along
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = outbound.client()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def put(self, saved: Saved, files: Files) -> Saved:
        """Put the files of a result; returns it with their addresses there.

        Raises
        ------
        Refusal
            When one of them is not accepted.
        """
        try:
            address = await Address.check(self._url)
        except AddressError as error:
            raise Refusal(502, f"The files could not be uploaded: the address {error}") from None
        return replace(saved, output=await self._put_all(saved.output, files, address))

    async def _put_all(self, output: Any, files: Files, address: Address) -> Any:
        """Put the files of an output at the same time."""
        if isinstance(output, list):
            return await asyncio.gather(*(self._put_all(value, files, address) for value in output))
        if isinstance(output, dict):
            values = await asyncio.gather(*(self._put_all(value, files, address) for value in output.values()))
            return dict(zip(output, values, strict=True))
        file = files.at(output) if isinstance(output, str) else None
        if file is None:
            return output
        content = await asyncio.to_thread(file.read_bytes)
        target = address.below(output.removeprefix(served_files.PREFIX))
        for wait in (*_WAITS, None):
            answer = await target.send(self._http, "PUT", content, {"Content-Type": media_type(file)}, _TIMEOUT)
            if answer.problem is None:
                return answer.location.partition("?")[0] or target.without_query
            if wait is None:
                raise Refusal(502, f"The files could not be uploaded: {answer.problem}.")
            await asyncio.sleep(wait)
