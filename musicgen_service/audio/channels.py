"""Downmixing: any number of channels to stereo, and stereo to mono."""

import numpy as np

from musicgen_service.notes import note

_HALF_POWER = 2**-0.5
# Gains of each speaker to the left and to the right (ITU-R BS.775-4, annex 4: centre and surrounds at -3 dB, a
# surround for both sides at -6 dB in each; the low-frequency effects are left out), by its bit in a
# WAVEFORMATEXTENSIBLE's mask. The first channel is the one with the lowest bit.
_SPEAKERS = {
    0x1: (1.0, 0.0),  # front left
    0x2: (0.0, 1.0),  # front right
    0x4: (_HALF_POWER, _HALF_POWER),  # front centre
    0x8: (0.0, 0.0),  # low-frequency effects
    0x10: (_HALF_POWER, 0.0),  # back left
    0x20: (0.0, _HALF_POWER),  # back right
    0x40: (1.0, 0.0),  # front left of centre
    0x80: (0.0, 1.0),  # front right of centre
    0x100: (0.5, 0.5),  # back centre
    0x200: (_HALF_POWER, 0.0),  # side left
    0x400: (0.0, _HALF_POWER),  # side right
}
_OTHER_SPEAKER = (0.5, 0.5)
"""Gains of height speakers and any others."""
_DEFAULT_MASKS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
"""Mask by number of channels, for files that do not name them: the assignment of FLAC (RFC 9639, 9.1.3) and wav."""

_SILENT_SIDE_DB = 40.0
"""A side this much quieter than the other counts as silent."""
_CANCELLED = 0.1
"""Share of the louder side's power; a band whose mean has less has cancelled out."""
_MAX_CANCELLED = 0.2
"""Share of the sound that may cancel out: wide stereo always loses a little."""
_AUDIBLE = 1e-4
"""Share of the maximum power above which a band counts as audible."""
_FRAME, _SEGMENT = 0.1, 1.0
"""Seconds per spectrum, and per segment that is compared."""
_LOWEST_EDGE = 60.0
"""Hz: the upper edge of the lowest band; the others are octaves."""


def to_stereo(block: np.ndarray, mask: int) -> np.ndarray:
    """Mix more than two channels down to two; one or two stay as they are.

    Parameters
    ----------
    block : float32 array [frames, channels]
    mask : speakers of the channels, as in a WAVEFORMATEXTENSIBLE; 0 when the file does not name them

    Returns
    -------
    float32 array [frames, 1 or 2]; it may exceed ±1
    """
    channels = block.shape[1]
    if channels <= 2:
        return block
    if mask.bit_count() != channels:
        mask = _DEFAULT_MASKS[channels]
    bits = [1 << place for place in range(32) if mask >> place & 1]
    return block @ np.array([_SPEAKERS.get(bit, _OTHER_SPEAKER) for bit in bits], np.float32)


def to_mono(samples: np.ndarray, rate: int) -> np.ndarray:
    """Mix one or two channels down to one: their mean, unless the sides cancel out.

    Where one side is silent, the other is used alone, at its own level. Where the sides cancel out, the louder one
    is used alone, with a note to the client.

    Parameters
    ----------
    samples : float32 array [1 or 2, samples]
    rate : samples per second

    Returns
    -------
    float32 array [samples]
    """
    if samples.shape[0] == 1:
        return samples[0]
    powers = [float(np.dot(side, side)) for side in samples]
    louder = samples[int(np.argmax(powers))]
    if min(powers) <= max(powers) * 10 ** (-_SILENT_SIDE_DB / 10):
        return louder
    if cancelled_share(samples, rate) > _MAX_CANCELLED:
        note("The two sides of the audio cancel out when they are mixed to mono, so the louder one is used alone.")
        return louder
    # Not `samples.mean`, which is slow where the channels of a sample lie together.
    mixed: np.ndarray = samples[0] + samples[1]
    mixed /= 2
    return mixed


def cancelled_share(samples: np.ndarray, rate: int) -> float:
    """Share of two channels [2, samples] that cancels out in their mean, from 0 to 1.

    The power of the mean is compared with that of the louder side, octave by octave and second by second, because the
    bass alone may cancel out, or one part of a song.
    """
    length = min(2 ** round(np.log2(_FRAME * rate)), samples.shape[1])
    per_segment = max(1, round(_SEGMENT * rate / length))
    window = np.hanning(length + 2)[1:-1].astype(np.float32)
    edges = _octaves(rate, length)
    louder, mean = [], []
    for start in range(0, samples.shape[1] - length + 1, length * per_segment):
        segment = samples[:, start : start + length * per_segment]
        frames = segment.shape[1] // length
        spectra = np.fft.rfft(segment[:, : frames * length].reshape(2, frames, length) * window)
        left, right, mixed = (_powers(side, edges) for side in (*spectra, (spectra[0] + spectra[1]) / 2))
        louder.append(np.maximum(left, right))
        mean.append(mixed)
    power, kept = np.array(louder), np.array(mean)
    weight = np.sqrt(power) * (power > _AUDIBLE * power.max(initial=0.0))
    return float(weight[kept < _CANCELLED * power].sum() / max(weight.sum(), 1e-30))


def _powers(spectra: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Compute the power of spectra [frames, bins] in each band."""
    power = (spectra.real**2 + spectra.imag**2).sum(axis=0)
    return np.add.reduceat(power, edges)


def _octaves(rate: int, length: int) -> np.ndarray:
    """Return the first bin of each band in a spectrum of `length` samples."""
    count = max(1, int(np.log2(rate / 2 / _LOWEST_EDGE)))
    bins = np.round(_LOWEST_EDGE * 2.0 ** np.arange(count) * length / rate).astype(int)
    return np.unique(np.concatenate([[0], bins[(bins > 0) & (bins <= length // 2)]]))
