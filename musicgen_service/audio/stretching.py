"""Time-stretching without a change of pitch, exact to the sample (Signalsmith Stretch, by python-stretch)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from python_stretch.Signalsmith import Stretch

_SEED = 0
"""Of the stretcher's own dither: the same sound always gives the same result."""
_CONTEXT = 0.1
"""Seconds heard on either side of a piece: the stretcher's blocks (0.12 s) are blurred at the edges of its input."""
_FADE = 0.01
"""Seconds over which one piece gives way to the next, ending where the next begins."""


def stretch(samples: np.ndarray, rate: int, length: int) -> np.ndarray:
    """Stretch or squeeze a clip to an exact length; a clip of that length stays as it is.

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
    # It rounds the length in single precision, so that a sample may be missing or too many.
    return np.pad(result, [(0, 0), (0, max(0, length - result.shape[1]))])[:, :length]


def warp(samples: np.ndarray, rate: int, sources: Sequence[int], targets: Sequence[int]) -> np.ndarray:
    """Move points of a clip to other points, stretching evenly between them.

    Parameters
    ----------
    samples : float32 array [channels, samples]
    rate : samples per second
    sources : ascending sample positions
    targets : where they go, ascending; the last is the result's length, and before the first there is silence

    Returns
    -------
    float32 array [channels, targets[-1]]
    """
    result = np.zeros((samples.shape[0], targets[-1]), np.float32)
    context, longest_fade = round(_CONTEXT * rate), round(_FADE * rate)
    for (start, end), (begin, stop) in zip(pairwise(sources), pairwise(targets), strict=True):
        factor = (stop - begin) / (end - start)
        first, last = max(0, start - context), min(samples.shape[1], end + context)
        piece = stretch(samples[:, first:last], rate, round((last - first) * factor))
        offset = round((start - first) * factor)
        fade = min(longest_fade, offset, begin)
        piece = piece[:, offset - fade : offset + stop - begin].copy()
        ramp = np.linspace(0, 1, fade, endpoint=False, dtype=np.float32)
        result[:, begin - fade : begin] *= 1 - ramp
        piece[:, :fade] *= ramp
        result[:, begin - fade : begin - fade + piece.shape[1]] += piece
    return result
