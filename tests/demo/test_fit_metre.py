"""The fit of the model of beats and bars, on a handful of recordings."""

import numpy as np

from demo import fit_metre
from musicgen_service.analysis import metre_model


def test_fitted_weights_prefer_the_right_readings() -> None:
    songs = [fit_metre.examples(fit_metre.song(seed))[1] for seed in range(660_000_000, 660_000_008)]
    sounds = [fit_metre.examples(fit_metre.sound(seed))[1] for seed in (2, 3, 4, 5)]
    examples = [e for e in (*songs, *sounds) if e]
    assert sum(e.right.any() for e in examples) > 5 and sum(not e.has_beat for e in examples) > 2
    assert all(e.right.sum() < len(e.right) / 4 for e in examples)
    start = metre_model.weights()["alone"]
    zero = metre_model.Weights(0 * start.readings, 0 * start.no_beat, np.array([1.0, 0.0]))
    weights = fit_metre.fit(examples, zero)
    hits = [e.right[np.argmax(e.evidence @ weights.readings)] for e in examples if e.right.any()]
    assert np.mean(hits) > 0.8
    none = [metre_model.softmax(weights, e.evidence, e.features)[1] > 0.5 for e in examples]
    assert np.mean(np.array(none) == [not e.has_beat for e in examples]) > 0.8
