"""The routes of files: results and uploads."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from musicgen_service.inputs import served_files
from musicgen_service.serving import clients, files
from musicgen_service.serving.audio_requests import AudioRequests
from musicgen_service.serving.refusals import Refusal, reply
from musicgen_service.serving.routing import base_url, route
from musicgen_service.serving.uploads import Uploads


class FileRoutes:
    """Handles requests about files.

    Parameters
    ----------
    kept : files of results and uploads
    uploads : receives files
    audio : converts them
    """

    def __init__(self, kept: files.Files, uploads: Uploads, audio: AudioRequests) -> None:
        self._files = kept
        self._uploads = uploads
        self._audio = audio

    def routes(self) -> list[Route]:
        """Those of uploads, which the hosted platform's clients know at the same places, and that of every file."""
        return [
            *self.uploads(),
            route("/files/{token}/{name}", GET=self._content),
        ]

    def uploads(self) -> list[Route]:
        """Those of uploads."""
        return [
            route("/files", GET=self._list, POST=self._receive),
            route("/files/{id}", GET=self._one, DELETE=self._remove),
        ]

    def check(self, inputs: Mapping[str, Any], request: Request) -> None:
        """Check that the inputs which are addresses of this service are those of files that it has.

        Raises
        ------
        Refusal
            When one of them is not.
        """
        for name, value in inputs.items():
            is_own = isinstance(value, str) and value.startswith(f"{base_url(request)}{served_files.PREFIX}")
            if is_own and self._files.at_url(value) is None:
                sentence = f"{name} is no file of this service, or it was made too long ago."
                raise Refusal(422, sentence, [{"loc": ["body", "input", name], "msg": sentence, "type": "value_error"}])

    async def _receive(self, request: Request) -> Response:
        upload = await self._uploads.receive(request, clients.owner(request))
        return reply(201, _shown(upload, request))

    async def _list(self, request: Request) -> Response:
        uploads = await self._uploads.owned_by(clients.owner(request))
        return reply(200, {"next": None, "previous": None, "results": [_shown(upload, request) for upload in uploads]})

    async def _one(self, request: Request) -> Response:
        uploads = await self._uploads.owned_by(clients.owner(request), request.path_params["id"])
        if not uploads:
            raise files.missing()
        return reply(200, _shown(uploads[0], request))

    async def _remove(self, request: Request) -> Response:
        if not await self._uploads.remove(clients.owner(request), request.path_params["id"]):
            raise files.missing()
        return Response(status_code=204)

    async def _content(self, request: Request) -> Response:
        file = self._files.find(request.path_params["token"], request.path_params["name"])
        if file is None:
            raise files.missing()
        wanted = request.query_params.get("format")
        if wanted is None or wanted == file.suffix.removeprefix("."):
            return files.response(file)
        return files.response(await self._audio.convert(request, file, wanted), is_temporary=True)


def _shown(upload: dict[str, Any], request: Request) -> dict[str, Any]:
    """What is known of an upload, with its absolute address."""
    return upload | {"urls": {name: base_url(request) + path for name, path in upload["urls"].items()}}
