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


def prepared(make_entry: Callable[[str], Function], *arguments: object) -> Function:
    """Return a function, compiled for arguments like these, with which it is called once.

    Parameters
    ----------
    make_entry : returns the function, given a version that differs wherever what it compiles to does. It has to be the
        only variable of the function from outside that is no global: numba keeps a function by those, and compiled
        functions among them are others in every process
    """
    try:
        _entry(make_entry, True)(*arguments)
    # numba tells damaged files, full disks and folders that cannot be written by exceptions of many kinds.
    except Exception as error:
        log(f"a step is compiled at every start, as numba's cache cannot be used: {type(error).__name__}: {error}")
        _entry(make_entry, False)(*arguments)
        return _entry(make_entry, False)
    return _entry(make_entry, True)


@cache
def _entry(make_entry: Callable[[str], Function], is_kept: bool) -> Function:
    # By itself numba knows changes of the function's own file alone.
    files = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    compiled: Function = njit(nogil=True, cache=is_kept)(make_entry(sha256(files).hexdigest() + str(has_vnni())))
    return compiled
