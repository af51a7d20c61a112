"""How long the steps of a loop take."""

from bisect import bisect_left

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the classes that steps are counted in, in seconds; the last class has none."""


class StepTimes:
    """Counts steps by their time; one thread adds, others may read.

    Attributes
    ----------
    counts : number of steps in each class
    total : their time together, in seconds
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count a step."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
