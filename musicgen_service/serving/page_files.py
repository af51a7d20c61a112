"""The page for people: static files in `page/`, with headers that let a browser load nothing else."""

import os
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).with_name("page")
_WAVESURFER_STYLE = "sha256-fF0LBso7Nz75zaFRDBUefBDvPe19hjaiDnnc8lt+2Js="
"""The style sheet that wavesurfer.js puts into the page, for waveforms of 64 pixels: `HEIGHT` in clips/wave.js."""
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": f"'self' '{_WAVESURFER_STYLE}'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "media-src": "'self' blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # A browser asks each time whether its copy is still the same, and mostly gets 304.
    "Cache-Control": "no-cache",
}


class PageFiles(StaticFiles):
    """Serves the files of the page."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    def file_response(
        self, full_path: "str | os.PathLike[str]", stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """See `StaticFiles.file_response`."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response

    def index(self, scope: Scope) -> Response:
        """The page itself, which is at `/`."""
        index = FOLDER / "index.html"
        response = self.file_response(index, index.stat(), scope)
        response.headers["Vary"] = "Accept"
        return response
