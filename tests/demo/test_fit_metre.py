"""The fit of the beat tracker's weights, on a handful of songs."""

import numpy as np

from demo import fit_metre


def test_fitted_weights_prefer_the_right_readings() -> None:
    examples = [e for e in map(fit_metre.example, range(660_000_000, 660_000_012)) if e]
    assert len(examples) > 8
    assert all(0 < e.right.sum() < len(e.right) / 4 for e in examples)
    weights = fit_metre.fit(examples)
    hits = [e.right[np.argmax(e.evidence @ weights)] for e in examples]
    assert np.mean(hits) > 0.8
