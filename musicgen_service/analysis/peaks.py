"""Peaks of a row of values, as scipy.signal finds them, whose import takes longer than most analyses that use them."""

import numpy as np
from numpy.typing import NDArray


def find(row: NDArray[np.floating], height: float, distance: int) -> NDArray[np.int64]:
    """Find local maxima.

    Parameters
    ----------
    row : ``[values]``
    height : lowest value of a peak
    distance : least number of places between peaks; of those nearer to each other the highest one is kept

    Returns
    -------
    Places of the peaks, ascending; for equal values side by side, the middle one.
    """
    # Runs of equal values: a peak is one that is higher than both of its neighbours.
    starts = np.flatnonzero(np.diff(row, prepend=np.nan))
    levels = row[starts]
    is_peak = (levels[1:-1] > levels[:-2]) & (levels[1:-1] > levels[2:]) & (levels[1:-1] >= height)
    peaks = ((starts[1:-1] + starts[2:] - 1) // 2)[is_peak]
    kept = np.ones(len(peaks), bool)
    for place in np.argsort(row[peaks])[::-1]:
        if kept[place]:
            near = slice(*np.searchsorted(peaks, [peaks[place] - distance + 1, peaks[place] + distance]))
            kept[near] = False
            kept[place] = True
    return peaks[kept]
