"""What carries out the requests of a batch: this process, or a server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from musicgen_service.batch.items import Item


@dataclass(frozen=True)
class Reply:
    """What was made of a request.

    Attributes
    ----------
    files : in the order and under the names of the predictor
    metrics : of the prediction; `notes` among them, and `predict_time` where it is known
    """

    files: list[Path]
    metrics: dict[str, Any]


class Client(Protocol):
    """Carries out requests, within `async with`."""

    at_once: int
    """Number of requests that it is given at the same time."""

    async def __aenter__(self) -> Self:
        """Get ready; raises BatchError."""

    async def __aexit__(self, *_: object) -> None:
        """Release what `__aenter__` has taken."""

    def problems(self, item: Item) -> list[str]:
        """What is wrong with a request, as far as only the client can tell: a sentence each."""

    async def make(self, item: Item, folder: Path) -> Reply:
        """Carry out a request; its files go into `folder`. A task that is cancelled ends when nothing is left of it.

        Raises
        ------
        RequestFailed
            When this request fails.
        BatchError
            When no request can be carried out.
        """

    async def rate(self, items: Sequence[Item]) -> float | None:
        """Measure how many seconds of audio are made in a second; None where that would be work for a server."""
