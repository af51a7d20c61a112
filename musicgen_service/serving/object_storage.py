"""Sends the files of results where the operator keeps them: `serve --upload-url`."""

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from musicgen_service.inputs import served_files
from musicgen_service.serving import outbound
from musicgen_service.serving.files import Files, Saved, media_type
from musicgen_service.serving.outbound import Address, AddressError
from musicgen_service.serving.refusals import Refusal

_TIMEOUT = 120.0
"""Seconds for a file to be received."""
_WAITS = (1.0, 5.0)
"""Seconds before a file is sent again."""
_SIGNATURES = ("x-amz-signature", "x-goog-signature", "signature", "sig")
"""Names in a query for a signature: of Amazon's and Google's stores, of older ones, and of Azure."""
_AZURE_FOLDERS = ("c", "d")
"""What `sr` says in Azure's signatures where they are for all files in a container or a folder."""
_AZURE_KIND = "x-ms-blob-type"
"""A header without which Azure takes no file, and which others ignore."""


class ObjectStorage:
    """Where files are put, by HTTP.

    Cog's own option of that name appends the name of a file to the query, sends nothing that is inside an object, and
    returns files in the order in which they were received.

    Parameters
    ----------
    url : each file is put below it, and its query goes along; one that is signed for a single file takes the only file
        of each result, in the place of the one before
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_for_one_file = _is_for_one_file(url)
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
        count = _count(saved.output, files)
        if self._is_for_one_file and count > 1:
            raise Refusal(
                502,
                f"The files could not be uploaded: the operator's address is signed for one, and there are {count}.",
            )
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
        target = address if self._is_for_one_file else address.below(output.removeprefix(served_files.PREFIX))
        headers = {"Content-Type": media_type(file), _AZURE_KIND: "BlockBlob"}
        for wait in (*_WAITS, None):
            answer = await target.send(self._http, "PUT", content, headers, _TIMEOUT)
            if answer.problem is None:
                return answer.location.partition("?")[0] or target.without_query
            if wait is None:
                raise Refusal(502, f"The files could not be uploaded: {answer.problem}.")
            await asyncio.sleep(wait)


def _is_for_one_file(url: str) -> bool:
    """Whether an address has a signature for its path, so that nothing can be put below it."""
    query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    return any(name in query for name in _SIGNATURES) and query.get("sr") not in _AZURE_FOLDERS and "srt" not in query


def _count(output: Any, files: Files) -> int:
    """Number of files in an output."""
    if isinstance(output, list | dict):
        return sum(_count(value, files) for value in (output.values() if isinstance(output, dict) else output))
    return int(isinstance(output, str) and files.at(output) is not None)
