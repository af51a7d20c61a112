"""Measurements of a clip: pitch classes, onsets, tempo, key, chords, silence and noise."""

import librosa
import numpy as np
from numpy.typing import NDArray

from demo.synth import FRAME, SAMPLE_RATE
from demo.synth.styles import NOTE_NAMES
from musicgen_service.analysis import beats
from musicgen_service.analysis.chords import recognise

Array = NDArray[np.float32]
_HOP = 320  # samples between measurements of onsets: 10 ms
_CHROMA_WINDOW = 8192  # samples: resolves semitones down to 65 Hz
_SILENCE = -50  # dB below full scale; the quietest second of 30 held-back songs is at -24 dB
_NOISE = 0.3  # spectral flatness, which is 0.56 of white noise and below 0.001 of songs


def chroma(audio: Array) -> Array:
    """Strength of each pitch class over time, ``[12, frames]``, with a resolution for low chords."""
    return librosa.feature.chroma_stft(y=audio, sr=SAMPLE_RATE, n_fft=_CHROMA_WINDOW, tuning=0.0)


def chroma_cosine(first: Array, second: Array) -> float:
    """Mean cosine similarity of two clips' chroma over the time they share, where neither is silent."""
    a, b = chroma(first), chroma(second)
    frames = min(a.shape[1], b.shape[1])
    a, b = a[:, :frames], b[:, :frames]
    lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    sounding = lengths > 1e-6
    return float(((a * b).sum(0)[sounding] / lengths[sounding]).mean()) if sounding.any() else 0.0


def onsets(audio: Array) -> Array:
    """Onset strength at every code frame, 50 a second."""
    return librosa.onset.onset_strength(y=audio, sr=SAMPLE_RATE, hop_length=FRAME, n_fft=2048)


def onset_correlation(first: Array, second: Array) -> float:
    """Pearson correlation of two onset envelopes."""
    a, b = onsets(first), onsets(second)
    frames = min(len(a), len(b))
    a, b = a[:frames], b[:frames]
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def onset_energy(audio: Array) -> float:
    """Energy of rises above 5 kHz relative to total energy (dB): high for drum hits, low for held notes."""
    power = np.abs(librosa.stft(audio, n_fft=1024, hop_length=_HOP)) ** 2
    high = power[160:].sum(0)  # above 5 kHz
    rises = np.maximum(0, np.diff(high))
    return float(10 * np.log10(rises.sum() / (power.sum() + 1e-9) + 1e-9))


def tempo(audio: Array) -> float:
    """Beats per minute, 0 where there is no beat."""
    return beats.track(audio, SAMPLE_RATE).tempo


def key(audio: Array) -> str:
    """The best-matching key, such as "A minor"; empty where there is none."""
    keys = recognise(audio, SAMPLE_RATE).keys
    return keys[0][0] if keys else ""


def longest_chord(audio: Array) -> float:
    """Share of a clip's duration with its most frequent chord: near 1 for a drone."""
    seconds: dict[str, float] = {}
    for segment in recognise(audio, SAMPLE_RATE).chords:
        seconds[segment.label] = seconds.get(segment.label, 0.0) + segment.end - segment.start
    return max(seconds.values()) / sum(seconds.values())


def relative_key(name: str) -> str:
    """The relative key: A minor for C major, and vice versa."""
    tonic, mode = name.split()
    step, other = (9, "minor") if mode == "major" else (3, "major")
    return f"{NOTE_NAMES[(NOTE_NAMES.index(tonic) + step) % 12]} {other}"


def collapsed(audio: Array) -> str | None:
    """Detect a clip without music: "silence" if a full second is 50 dB below full scale, "noise" if its spectrum is
    flat; otherwise None."""
    seconds = audio[: len(audio) // SAMPLE_RATE * SAMPLE_RATE].reshape(-1, SAMPLE_RATE)
    if (np.sqrt((seconds**2).mean(1)) < 10 ** (_SILENCE / 20)).any():
        return "silence"
    flatness = librosa.feature.spectral_flatness(y=audio, n_fft=2048)[0]
    return "noise" if float(np.median(flatness)) > _NOISE else None
