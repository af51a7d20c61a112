"""What a client should know of a request that succeeded: an input without effect, a fallback, a guess."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from musicgen_service.progress import log


@dataclass
class _Collection:
    reword: Callable[[str], str]
    is_quiet: bool
    sentences: list[str] = field(default_factory=list)


_collection: ContextVar[_Collection | None] = ContextVar("notes", default=None)
"""Of the request that runs in this context: requests that run side by side do not see one another's."""


@contextmanager
def collected(reword: Callable[[str], str] = str, *, quiet: bool = False) -> Iterator[list[str]]:
    """The notes made in the block, each once, in order.

    Parameters
    ----------
    reword : puts a sentence into the client's own names of inputs
    quiet : whether to keep them out of the log: for a request that is only looked at
    """
    collection = _Collection(reword, quiet)
    token = _collection.set(collection)
    try:
        yield collection.sentences
    finally:
        _collection.reset(token)


def note(sentence: str) -> None:
    """Tell the client and the operator one sentence; it goes to the log and to the notes of the running request."""
    collection = _collection.get()
    if collection is not None:
        sentence = collection.reword(sentence)
        if sentence in collection.sentences:
            return
        collection.sentences.append(sentence)
        if collection.is_quiet:
            return
    log(f"note: {sentence}")
