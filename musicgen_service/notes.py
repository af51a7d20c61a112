"""What a client should know of a request that succeeded: an input without effect, a fallback, a guess."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from musicgen_service.progress import log

_collected: ContextVar[list[str] | None] = ContextVar("notes", default=None)
"""Of the request that runs in this context: requests that run side by side do not see one another's."""


@contextmanager
def collected() -> Iterator[list[str]]:
    """The notes made in the block, each once, in order."""
    found: list[str] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def note(sentence: str) -> None:
    """Tell the client and the operator one sentence; it goes to the log and to the notes of the running request."""
    found = _collected.get()
    if found is not None:
        if sentence in found:
            return
        found.append(sentence)
    log(f"note: {sentence}")
