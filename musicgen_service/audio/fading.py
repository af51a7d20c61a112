"""Fades at the beginning and at the end of a clip: half a period of a cosine."""

from collections.abc import Iterator

import numpy as np


def fade(samples: np.ndarray, fade_in: int, fade_out: int) -> np.ndarray:
    """Fade a clip [channels, samples] in and out, over so many samples."""
    [faded] = fade_stream(iter([samples]), samples.shape[1], fade_in, fade_out)
    return faded


def fade_stream(pieces: Iterator[np.ndarray], length: int, fade_in: int, fade_out: int) -> Iterator[np.ndarray]:
    """Fade consecutive pieces [channels, samples], which have a length altogether."""
    done = 0
    for piece in pieces:
        places = np.arange(done, done + piece.shape[1])
        done += piece.shape[1]
        if places.size and (places[0] < fade_in or places[-1] >= length - fade_out):
            yield piece * (_rise(places, fade_in) * _rise(length - 1 - places, fade_out))
        else:
            yield piece


def _rise(places: np.ndarray, width: int) -> np.ndarray:
    """From 0 at the first place to 1 after `width` samples: float32 [places]."""
    if not width:
        return np.ones(places.shape, np.float32)
    return (np.sin(np.pi / 2 * np.clip(places / width, 0, 1)) ** 2).astype(np.float32)
