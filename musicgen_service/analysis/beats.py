"""Tempo, beats and bars of a recording."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import scipy  # submodules are imported on first use
from numpy.typing import NDArray

from musicgen_service.analysis import beat_network, local_tempo, metre, metre_model, pulse
from musicgen_service.analysis.envelopes import FRAME_RATE, HOP, RATE, envelopes, loudness, mono, rises
from musicgen_service.analysis.metre_evidence import ACTIVATION, Sound
from musicgen_service.analysis.metre_model import Heard

MIN_SECONDS = 1.0
MIN_BEATS = 8  # fewer may be evenly spaced by chance
# Weights for pulses of the envelopes, and of the beats and downbeats that our networks and BeatNet hear.
_MIX = np.array([1.0, 1.0, 0.5, 0.3, 0.3, 3.0, 0.0, 1.5, 0.0])
LOW_CONFIDENCE = 0.15
"""Confidence below which there may be no beat: of recordings of people, it is below in those without a steady one alone
(speech, animals, drones, pieces played freely). Nothing is aligned with such beats."""
_EDGE = 0.03  # seconds
_UNEVEN = 0.25  # of a beat, by which beats of a changing tempo leave an even grid
_MIN_DRIFTING = 16  # ticks: fewer are told from even ones by chance
_SMOOTHING = 2  # neighbours on each side of a drifting tick
_DRIFT_GAIN = 1.2  # how much stronger the onsets at drifting ticks must be before the tempo may be drifting
_MAX_ALTERNATIVES, _MIN_ALTERNATIVE = 4, 0.005
_SILENCE = 1e-3  # of the peak: -60 dB
_MIN_SILENCE = 1.0  # seconds: beats go on through shorter rests
_PEAK_SAMPLES = 512
_LONGEST_LOOP = 12.0  # seconds
_NARROW = 12  # bands

Array = NDArray[np.float64]
Network = Callable[[np.ndarray], np.ndarray]
"""From float32 ``[samples]`` at RATE, peak 1, to the probabilities of a beat that is no downbeat and of a downbeat,
``[2, frames]``, NETWORK_RATE times per second."""
NETWORK_RATE = 50


class Measured(NamedTuple):
    """What is measured in a recording, or in it repeated.

    Attributes
    ----------
    rows : ``[rows, frames]`` from `envelopes`, then a beat and a downbeat as our networks hear them, and BeatNet
    rises : means of `envelopes.rises` in _NARROW bands, ``[bands, frames]``
    tempi : logarithms of the probabilities of `beat_network.TEMPI`
    """

    rows: Array
    rises: Array
    tempi: Array


@dataclass(frozen=True)
class Alternative:
    """Other beats that a recording may have: beats per minute, the kind of bar, and how probable they are."""

    tempo: float
    metre: str
    confidence: float


@dataclass(frozen=True)
class BeatGrid:
    """The metrical grid of a recording; empty and zero when there are no beats.

    Attributes
    ----------
    tempo : beats per minute; see `tempo_of`
    beats : seconds, float64 ``[beats]``; none where it is silent
    downbeats : the beats that begin a bar
    beats_per_bar : 2 to 7; 6/8 has two
    confidence : probability that these are the beats, their octave and phase included
    metre : the kind of bar, such as "6/8"
    metre_confidence : probability that bars are right if the beats are
    alternatives : other beats, the most probable first; their confidences and `confidence` add up to at most 1
    """

    tempo: float = 0.0
    beats: np.ndarray = field(default_factory=lambda: np.zeros(0))
    downbeats: np.ndarray = field(default_factory=lambda: np.zeros(0))
    beats_per_bar: int = 4
    confidence: float = 0.0
    metre: str = "4/4"
    metre_confidence: float = 0.0
    alternatives: tuple[Alternative, ...] = ()


class BeatTracker(Protocol):
    """Finds the beats and bars of a recording."""

    def __call__(self, samples: np.ndarray, sample_rate: int, tempo: float | None, /) -> BeatGrid:
        """See `track`, which is one implementation."""
        ...


def track(
    samples: np.ndarray, sample_rate: int, tempo: float | None = None, network: Network | None = None
) -> BeatGrid:
    """Find the beats and bars of a recording.

    Parameters
    ----------
    samples : float32 ``[channels, samples]`` or ``[samples]``
    sample_rate : samples per second
    tempo : the requested tempo, if any: decides between half and double tempo, and is no evidence of any other
    network : a network that hears beats, if there is one
    """
    audio = mono(samples, sample_rate)
    seconds = np.shape(samples)[-1] / sample_rate
    if seconds < MIN_SECONDS or not audio.any():
        return BeatGrid()
    once, *repeated = hear(audio, network)
    hearings = [possible([once, *repeated], len(audio) / HOP, tempo)]
    # Where what is repeated is played on, the beats of most loops are clearer.
    hearings += [possible([one], one.rows.shape[1], tempo) for one in repeated]
    candidates = metre_model.candidates(hearings, tempo)
    if not candidates:
        return BeatGrid()
    best, *others = candidates
    reading = best.reading
    every = reading.beats.frames / FRAME_RATE
    found = sounding(audio, inside(reading.beats.frames, seconds))
    downbeats = inside(reading.downbeats, seconds)
    return BeatGrid(
        tempo=tempo_of(every),
        beats=found,
        downbeats=downbeats[np.isin(downbeats, found)],
        beats_per_bar=reading.metre.beats,
        confidence=best.probability,
        metre=reading.metre.name,
        metre_confidence=best.metre_probability,
        alternatives=tuple(
            Alternative(other.beats.tempo, other.metre.name, other.probability)
            for other in others[:_MAX_ALTERNATIVES]
            if other.probability > _MIN_ALTERNATIVE
        ),
    )


def hear(audio: NDArray[np.float32], network: Network | None) -> list[Measured]:
    """Measure what there is to hear of a recording; see `as_heard`.

    Parameters
    ----------
    audio : ``[samples]`` at RATE, peak 1
    network : see `track`
    """
    result = []
    for sound in as_heard(audio):
        loud = loudness(sound)
        result.append(measured(loud, envelopes(sound, loud), network(sound) if network else None))
    return result


def as_heard(audio: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """A recording, and, if it is short, it repeated, since it may be a loop."""
    if len(audio) >= _LONGEST_LOOP * RATE:
        return [audio]
    return [audio, np.tile(audio, int(np.ceil(_LONGEST_LOOP * RATE / len(audio))))]


def measured(
    loudness: NDArray[np.float32],
    envelopes: Array,
    probabilities: np.ndarray | None,
    networks: slice = slice(None),
) -> Measured:
    """Have our networks hear what is known of a recording.

    Parameters
    ----------
    loudness, envelopes : see `envelopes`
    probabilities : what `track`'s network hears, if there is one
    networks : see `beat_network.hear`
    """
    frames = envelopes.shape[1]
    other = np.zeros((2, frames)) if probabilities is None else as_rows(probabilities, frames)
    own = beat_network.hear(beat_network.inputs(loudness, envelopes, other), networks)
    rows = [envelopes, _activations(own.beats, beat_network.NETWORK_RATE, frames)]
    if probabilities is not None:
        rows.append(other)
    narrow = rises(loudness).reshape(_NARROW, -1, frames).mean(axis=1)
    return Measured(np.concatenate(rows), narrow.astype(float), own.tempi.astype(float))


def possible(heard: Sequence[Measured], length: float, tempo: float | None = None) -> list[Heard]:
    """Find possible beats.

    Parameters
    ----------
    heard : what `hear` returns
    length : of the recording, in frames
    tempo : the expected tempo, if any
    """
    once, *repeated = heard
    onsets, sound = _sound(once)
    result = [Heard(sound, sound, metre.possible_beats(_pulses(onsets, tempo), sound.regularity[0]))]
    for one in repeated:
        onsets, loop = _sound(one)
        result.append(Heard(loop, sound, metre.beats_of_loop(onsets, length, loop.regularity[0])))
    return result


def _sound(measured: Measured) -> tuple[Array, Sound]:
    """All onsets, ``[frames]``, and what evidence is taken from."""
    onsets = _MIX[: len(measured.rows)] @ measured.rows
    return onsets, Sound.of(measured.rows, measured.rises, onsets, measured.tempi)


def tempo_of(beats: np.ndarray) -> float:
    """Beats per minute of ``[beats]`` in seconds: from a line fitted to them or, where they leave it, the usual one."""
    numbers = np.arange(len(beats))
    interval, first = np.polyfit(numbers, beats, 1)
    if np.abs(beats - first - interval * numbers).max() > _UNEVEN * interval:
        interval = np.median(np.diff(beats))
    return float(60 / interval)


def as_rows(probabilities: np.ndarray, frames: int) -> np.ndarray:
    """What `track`'s network hears as further rows of `envelopes`: any beat, and downbeats, ``[2, frames]``."""
    return _activations(np.array([probabilities.sum(axis=0), probabilities[1]]), NETWORK_RATE, frames)


def _activations(probabilities: np.ndarray, rate: float, frames: int) -> np.ndarray:
    """Probabilities of a beat and of a downbeat, so many times per second, as further rows of `envelopes`."""
    times = np.arange(frames) / FRAME_RATE * rate
    at = np.arange(probabilities.shape[1])
    return np.array([ACTIVATION * np.interp(times, at, row, right=0.0) for row in probabilities])


def inside(frames: np.ndarray, seconds: float) -> np.ndarray:
    """Times in seconds of those of ``[beats]`` in frames that are inside a recording."""
    times = frames / FRAME_RATE
    # A beat on the file's first sample may be measured slightly before it; one on its end is no longer inside.
    result: np.ndarray = np.maximum(times[(times > -_EDGE) & (times < seconds - _EDGE)], 0.0)
    return result


def sounding(audio: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Those of ``[times]`` (seconds) that are not in a long silence of audio at RATE, peak 1."""
    loudest = np.maximum.reduceat(np.abs(audio), np.arange(0, len(audio), _PEAK_SAMPLES))
    # Loud within half of it before or after: in between is a silence that long.
    reach = round(_MIN_SILENCE / 2 * RATE / _PEAK_SAMPLES)
    near = scipy.ndimage.maximum_filter1d(loudest, 2 * reach + 1)
    at = np.clip((times * RATE / _PEAK_SAMPLES).astype(int), 0, len(near) - 1)
    result: np.ndarray = times[near[at] >= _SILENCE]
    return result


def _pulses(onsets: Array, tempo: float | None) -> list[Array]:
    """Ticks of possible pulses, in frames, some of them near an expected tempo."""
    periods = pulse.periods(onsets, tempo)
    if not periods:
        return []
    pulses = [pulse.steady(onsets, period) for period in periods]
    drifting = pulse.drifting(onsets, local_tempo.periods(onsets, periods))
    for steady, ticks in zip(list(pulses), drifting, strict=True):
        if len(ticks) >= _MIN_DRIFTING and _strength(onsets, ticks) > _DRIFT_GAIN * _strength(onsets, steady):
            pulses.append(pulse.smooth(ticks, _SMOOTHING))
    return [ticks for ticks in pulses if len(ticks) > 1]


def _strength(onsets: np.ndarray, ticks: np.ndarray) -> float:
    return float(np.interp(ticks, np.arange(len(onsets)), onsets).mean())
