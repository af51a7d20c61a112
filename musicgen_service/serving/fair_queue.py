"""A bounded queue that takes one item of each client in turn, and has a place for each."""

from collections import OrderedDict
from typing import Generic, TypeVar

_T = TypeVar("_T")


class FairQueue(Generic[_T]):
    """Items that wait for their turn; within one client, first come, first served.

    Parameters
    ----------
    maximum : number of items that may wait, beside the first ones of clients that come when it is full
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._waiting: OrderedDict[str, list[_T]] = OrderedDict()
        """The items of each client, clients in the order of their turns."""

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def has_place(self, client: str) -> bool:
        """Whether a further item of a client may wait.

        A client that has none waiting always gets a place, until as many clients wait as there are places. Others may
        have an equal share of the places at most, those that they had before more clients came not counted.
        """
        waiting = len(self._waiting.get(client, ()))
        if not waiting:
            return len(self._waiting) < self._maximum
        return len(self) < self._maximum and waiting < max(1, self._maximum // len(self._waiting))

    def add(self, client: str, item: _T) -> None:
        """Add an item of a client, behind those of the same client."""
        self._waiting.setdefault(client, []).append(item)

    def take(self) -> _T:
        """Remove and return the next item.

        Raises
        ------
        KeyError
            When there is none.
        """
        client, items = self._waiting.popitem(last=False)
        item = items.pop(0)
        if items:
            self._waiting[client] = items
        return item

    def remove(self, client: str, item: _T) -> bool:
        """Remove an item; returns whether it was waiting."""
        items = self._waiting.get(client, [])
        if item not in items:
            return False
        items.remove(item)
        if not items:
            del self._waiting[client]
        return True

    def position(self, client: str, item: _T) -> int | None:
        """Number of items whose turn comes before that of `item`; None when it is not waiting."""
        items = self._waiting.get(client, [])
        if item not in items:
            return None
        before = items.index(item)
        clients = list(self._waiting)
        # Until its turn, each client has a turn in every round; those further ahead, one more.
        ahead = clients[: clients.index(client)]
        return before + sum(
            min(len(waiting), before + (other in ahead)) for other, waiting in self._waiting.items() if other != client
        )
