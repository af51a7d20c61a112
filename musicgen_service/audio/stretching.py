"""Sample-exact time-stretching without a change of pitch (Signalsmith Stretch, through python-stretch)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from python_stretch.Signalsmith import Stretch

_SEED = 0
"""Seed of the stretcher's dither, fixed so that the same sound always gives the same result."""
_CONTEXT = 0.1
"""Seconds of context on either side of a segment: the stretcher's blocks (0.12 s) blur the edges of its input."""
_FADE = 0.01
"""Seconds of the crossfade between segments, ending where the next segment begins."""


def stretch(samples: np.ndarray, rate: int, length: int) -> np.ndarray:
    """Stretch or compress a clip to an exact length; a clip of that length is returned unchanged.

    Parameters
    ----------
    samples : float32 array [channels, samples]
    rate : samples per second
    length : of the result, in samples

    Returns
    -------
    float32 array [channels, length]
    """
    if length == samples.shape[1]:
        return samples
    stretcher = Stretch(_SEED)
    stretcher.preset(samples.shape[0], rate)
    stretcher.setTimeFactor(samples.shape[1] / length)
    result = np.asarray(stretcher.process(np.ascontiguousarray(samples, dtype=np.float32)))
    # The stretcher rounds the length in single precision, which can be off by a sample.
    return np.pad(result, [(0, 0), (0, max(0, length - result.shape[1]))])[:, :length]


def warp(samples: np.ndarray, rate: int, sources: Sequence[int], targets: Sequence[int]) -> np.ndarray:
    """Move points of a clip to other positions, stretching evenly between them.

    Parameters
    ----------
    samples : float32 array [channels, samples]
    rate : samples per second
    sources : ascending sample positions
    targets : their new positions, ascending; the last is the result's length, and before the first there is silence

    Returns
    -------
    float32 array [channels, targets[-1]]
    """
    result = np.zeros((samples.shape[0], targets[-1]), np.float32)
    context, max_fade = round(_CONTEXT * rate), round(_FADE * rate)
    for (start, end), (begin, stop) in zip(pairwise(sources), pairwise(targets), strict=True):
        factor = (stop - begin) / (end - start)
        first, last = max(0, start - context), min(samples.shape[1], end + context)
        segment = stretch(samples[:, first:last], rate, round((last - first) * factor))
        offset = round((start - first) * factor)
        fade = min(max_fade, offset, begin)
        segment = segment[:, offset - fade : offset + stop - begin].copy()
        ramp = np.linspace(0, 1, fade, endpoint=False, dtype=np.float32)
        result[:, begin - fade : begin] *= 1 - ramp
        segment[:, :fade] *= ramp
        result[:, begin - fade : begin - fade + segment.shape[1]] += segment
    return result
