"""Peaks are those that scipy finds."""

import numpy as np
import pytest
from scipy.signal import find_peaks

from musicgen_service.analysis import peaks


@pytest.mark.parametrize("distance", [1, 2, 5, 40])
@pytest.mark.parametrize("height", [0.0, 0.5])
@pytest.mark.parametrize("levels", [4, 1_000_000], ids=["plateaus", "distinct values"])
def test_peaks_equal_scipy(distance: int, height: float, levels: int) -> None:
    row = np.random.default_rng(0).integers(0, levels, 3_000) / levels
    expected, _ = find_peaks(row, height=height, distance=distance)
    found = peaks.find(row, height, distance)
    if levels > 4 or distance == 1:  # which of equal peaks is kept is not defined
        assert np.array_equal(found, expected)
    assert np.diff(found).min() >= distance and row[found].min() >= height


@pytest.mark.parametrize("row", [[], [1.0], [1.0, 1.0, 1.0], [0.0, 1.0], [2.0, 1.0, 3.0]])
def test_the_ends_are_no_peaks(row: list[float]) -> None:
    assert len(peaks.find(np.array(row), 0.0, 1)) == 0
