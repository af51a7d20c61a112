"""How much of a request is done whose clips are taken apart when they are made."""

from collections.abc import Callable

_SHARE = 0.2
"""Share of the progress that taking clips apart is reported as."""


class StemProgress:
    """Progress of a request whose clips are made and taken apart in turns.

    Parameters
    ----------
    report : called with the completed share (0 to 1) of all work, which never becomes less
    clips : how many there are
    """

    def __init__(self, report: Callable[[float], None], clips: int) -> None:
        self._report, self._clips = report, clips
        self._made, self._apart = 0.0, 0

    def making(self, share: float) -> None:
        """Report the completed share (0 to 1) of making all clips."""
        self._made = share
        self.separating(0.0)

    def separating(self, share: float) -> None:
        """Report the completed share (0 to 1) of taking the present clip apart."""
        self._report((1 - _SHARE) * self._made + _SHARE * (self._apart + share) / self._clips)

    def next_clip(self) -> None:
        """Go on to the next clip: the present one is taken apart."""
        self._apart += 1
        self.separating(0.0)
