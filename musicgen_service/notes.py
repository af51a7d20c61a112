"""Notes for the client of a successful request: inputs without effect, fallbacks, guesses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, TypeVar

from musicgen_service.progress import log

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass
class _Collection:
    reword: Callable[[str], str]
    is_quiet: bool
    sentences: list[str] = field(default_factory=list)


_collection: ContextVar[_Collection | None] = ContextVar("notes", default=None)
"""The collection of the request in this context; concurrent requests each have their own."""


@contextmanager
def collected(reword: Callable[[str], str] = str, *, quiet: bool = False) -> Iterator[list[str]]:
    """Collect the notes made in the block, without duplicates, in order.

    Parameters
    ----------
    reword : replaces names of inputs in a sentence by the client's
    quiet : whether to keep the notes out of the log, for a request that is only validated
    """
    collection = _Collection(reword, quiet)
    token = _collection.set(collection)
    try:
        yield collection.sentences
    finally:
        _collection.reset(token)


def note(sentence: str) -> None:
    """Add a sentence to the notes of the running request, and to the log."""
    collection = _collection.get()
    if collection is not None:
        sentence = collection.reword(sentence)
        if sentence in collection.sentences:
            return
        collection.sentences.append(sentence)
        if collection.is_quiet:
            return
    log(f"note: {sentence}")


def noting(sentence: str, function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return `function` with a note each time that it is called: what is used in the place of something better."""

    @wraps(function)
    def with_note(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        note(sentence)
        return function(*args, **kwargs)

    return with_note
