"""How much a client may use up per minute."""

import time
from collections.abc import Callable

_MIN_SWEPT = 1000


class Rate:
    """A token bucket for each client, which holds what one minute allows and is filled steadily.

    Of a bucket, the moment at which it will be full again says everything (the generic cell rate algorithm).

    Parameters
    ----------
    per_minute : what a client may use up in a minute, and at once when it has used nothing up
    clock : the time in seconds
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._sweep_at = _MIN_SWEPT

    def take(self, client: str, amount: float = 1.0) -> float:
        """Use an amount up; returns 0, or the seconds after which it may be used.

        More than a minute allows may be used up when the bucket is full, which then takes longer to be full again.
        """
        now, seconds = self._clock(), self._seconds(amount)
        full_at = max(self._full_at.get(client, now), now)
        wait = full_at + min(seconds, 60.0) - 60.0 - now
        if wait > 0:
            return wait
        self._sweep(now)
        self._full_at[client] = full_at + seconds
        return 0.0

    def give_back(self, client: str, amount: float) -> None:
        """Give back what was taken and has not been used."""
        if client in self._full_at:
            self._full_at[client] -= self._seconds(amount)

    def _seconds(self, amount: float) -> float:
        """How long the bucket takes to be filled with an amount."""
        return 60.0 * amount / self._per_minute

    def _sweep(self, now: float) -> None:
        """Forget full buckets, once there are twice as many buckets as after the last time."""
        if len(self._full_at) >= self._sweep_at:
            self._full_at = {client: full_at for client, full_at in self._full_at.items() if full_at > now}
            self._sweep_at = max(_MIN_SWEPT, 2 * len(self._full_at))
