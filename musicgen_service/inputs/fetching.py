"""Fetching of the files that a client names: from public http(s) addresses and from data URIs.

Cog would fetch them before the service sees the request, from any address and of any size; `cog_runner` makes it
pass on the addresses instead.
"""

import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from musicgen_service import settings
from musicgen_service.inputs import data_uri, http, served_files
from musicgen_service.inputs.content_encoding import too_large
from musicgen_service.inputs.http import SourceError as SourceError
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import Field

DEADLINE = 60.0
"""Maximum seconds for a complete transfer, redirects included."""

_POLL_INTERVAL = 0.05
"""Seconds between two checks whether the request was cancelled."""
_UNSAFE = re.compile(r"[^\w.-]+")
_SCHEMES = ("http", "https", "data")


def is_address(value: Any) -> bool:
    """Whether a value is text that starts with one of the supported URL schemes."""
    return isinstance(value, str) and _scheme(value) in _SCHEMES


@contextmanager
def local_files(inputs: Mapping[str, Any], fields: Mapping[str, Field]) -> Iterator[dict[str, Any]]:
    """Yield the inputs with every address replaced by a local file, which exists for the duration of the block.

    A file that the service itself serves is not copied.

    Raises
    ------
    RequestError
        When one of them cannot be fetched. No file is left behind then, nor when the request is cancelled.
    """
    # TemporaryDirectory removes its folder even when a cancel arrives before the block begins.
    with tempfile.TemporaryDirectory(prefix="musicgen-input-", ignore_cleanup_errors=True) as folder:
        values = dict(inputs)
        for name, value in inputs.items():
            if name in fields and fields[name].kind is Path and is_address(value):
                try:
                    values[name] = served_files.local_file(value) or fetch(value, Path(folder))
                except SourceError as error:
                    raise RequestError([f"{name} could not be fetched: {error}"]) from None
        yield values


def fetch(address: str, folder: Path, limit: int | None = None, seconds: float | None = None) -> Path:
    """Fetch an http(s) address or a data URI into `folder`.

    The work is done in a separate thread, because a name server or a slow peer cannot be interrupted and a
    cancelled request must end at once. That thread creates no file: an abandoned thread could create it after the
    folder has been cleared.

    Parameters
    ----------
    limit : bytes that it may have; None for `MUSICGEN_MAX_INPUT_MB`
    seconds : that it may take; None for `DEADLINE`

    Raises
    ------
    SourceError
        When it cannot be fetched, or is beyond a limit.
    """
    limit = int(settings.load().max_input_mb * 2**20) if limit is None else limit
    unfinished = folder / ".unfinished"
    try:
        with unfinished.open("xb") as file:
            name = _fetch_in_time(address, file, limit, DEADLINE if seconds is None else seconds)
        return unfinished.rename(folder / name)
    finally:
        unfinished.unlink(missing_ok=True)


def _fetch_in_time(address: str, file: BinaryIO, limit: int, seconds: float) -> str:
    outcome: list[str | Exception] = []
    transfer = http.Transfer()

    def work() -> None:
        try:
            outcome.append(_fetch(address, file, limit, transfer))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="fetch", daemon=True)
    end = time.monotonic() + seconds
    try:
        thread.start()
        while thread.is_alive() and time.monotonic() < end:
            thread.join(_POLL_INTERVAL)
        timed_out = thread.is_alive()
    finally:
        # Ends the thread together with the request.
        transfer.end()
    if timed_out:
        raise SourceError(f"it took more than {seconds:.0f} s.")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _scheme(address: str) -> str:
    return address.lstrip(http.BLANK)[:10].partition(":")[0].lower()


def _fetch(address: str, file: BinaryIO, limit: int, transfer: http.Transfer) -> str:
    """Write the content to `file`; returns a name for it."""
    if _scheme(address) != "data":
        return _file_name(http.fetch(address, limit, transfer, file.write))
    if len(address) > 4 * limit:
        raise SourceError(too_large(limit))
    try:
        content = data_uri.decode(address.strip(http.BLANK))
    except data_uri.DataUriError as error:
        raise SourceError(str(error)) from None
    if len(content) > limit:
        raise SourceError(too_large(limit))
    file.write(content)
    return "audio"


def _file_name(path: str) -> str:
    """The last part of a path, reduced to characters that are safe in a file name."""
    return _UNSAFE.sub("_", unquote(path.rpartition("/")[2]))[-100:].lstrip(".") or "audio"
