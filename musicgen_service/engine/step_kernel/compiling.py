"""Compiles functions for the arguments that they are called with, and keeps them on disk where numba can."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from numba import njit

from musicgen_service.engine.step_kernel.processor import has_vnni
from musicgen_service.progress import log

Function = Callable[..., Any]


def prepared(function: Function, *arguments: object) -> Function:
    """Return a function, compiled for arguments like these, with which it is called once."""
    try:
        _entry(function, True)(*arguments)
    # numba tells damaged files, full disks and folders that cannot be written by exceptions of many kinds.
    except Exception as error:
        log(f"a step is compiled at every start, as numba's cache cannot be used: {type(error).__name__}: {error}")
        _entry(function, False)(*arguments)
        return _entry(function, False)
    return _entry(function, True)


@cache
def _entry(function: Function, is_kept: bool) -> Function:
    # Part of what numba keeps it by, which knows changes of this file alone.
    files = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    version = sha256(files).hexdigest() + str(has_vnni()) + function.__module__

    def entry(*arguments: Any) -> None:
        if version:
            function(*arguments)

    compiled: Function = njit(nogil=True, cache=is_kept)(entry)
    return compiled
