"""Draws the pictures of docs/loops-and-remixes.md: the seam of a loop by the demo, and a remix's alignment.

python -m bench.pictures --out docs/pictures
"""

import argparse
from pathlib import Path

from demo.synth import HELD_BACK, SAMPLE_RATE, Synthesiser
from musicgen_service.analysis import beats, onsets
from musicgen_service.models.loading import load_model
from musicgen_service.models.store import WeightStore
from musicgen_service.paths import loop
from musicgen_service.paths.alignment import align, anchors
from tests.support.fake_music_model import job_for

import librosa
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PROMPT, BPM, SEED = "rock guitar with drums", 120.0, 5
NEAR, AROUND = 0.008, 1.0
REMIX_SECONDS = 24.0
SHOWN = (14.0, 22.0)
Sound = NDArray[np.float32]


def draw_loop(weights: Path, path: Path) -> None:
    """Draw the samples and the spectrogram around the seam of a loop played twice."""
    model = load_model(WeightStore(weights).checkpoint("demo"), torch.device("cpu"))
    [clip] = loop.generate(job_for(model, task="loop", prompt=PROMPT, bpm=BPM, seed=SEED))
    sound, rate = clip.samples[0], model.sample_rate
    twice = np.concatenate([sound, sound])
    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(9, 4.6), layout="constrained")
    length = round(NEAR * rate)
    time = np.arange(-length, length) / rate * 1000
    top.plot(time, twice[len(sound) - length : len(sound) + length], lw=1)
    top.axvline(0, color="tab:red", lw=1)
    top.set(title=f"{PROMPT}, {BPM:g} bpm: the end of a loop and its start again", xlabel="ms", xlim=(-8, 8))
    _spectrogram(bottom, twice[len(sound) - round(AROUND * rate) :][: 2 * round(AROUND * rate)], rate, -AROUND)
    bottom.axvline(0, color="tab:red", lw=1)
    bottom.set(xlabel="seconds")
    _save(figure, path)


def draw_remix(path: Path) -> None:
    """Draw a backing's onsets with the song's downbeats, and the distance of its own, before and after alignment."""
    seed = HELD_BACK + 70_000_000
    song = Synthesiser().song(seed, REMIX_SECONDS, bpm=100, beats_per_bar=4, drums=True)
    backing = Synthesiser().song(
        seed + 1, REMIX_SECONDS + 1, bpm=99, start=2.1, beats_per_bar=4, drums=True, style="rock"
    )
    grid, backing_grid = beats.track(song.audio, SAMPLE_RATE), beats.track(backing.audio, SAMPLE_RATE, 100)
    aligned = align(
        backing.audio[None], SAMPLE_RATE, anchors(backing_grid.downbeats, grid.downbeats, 0.75), song.audio.size
    )[0]
    aligned_grid = beats.track(aligned, SAMPLE_RATE, 100)
    figure, axes = pyplot.subplots(3, 1, figsize=(9, 5), layout="constrained")
    for axis, sound, name in ((axes[0], backing.audio, "as generated"), (axes[1], aligned, "aligned")):
        envelope = onsets.flux(sound[None], SAMPLE_RATE)
        axis.plot(onsets.HOP_SECONDS * np.arange(len(envelope)), envelope, lw=0.7)
        for downbeat in song.downbeats:
            axis.axvline(downbeat, color="tab:red", lw=1)
        axis.set(title=f"onsets of the backing {name}, and the song's downbeats", xlim=SHOWN, yticks=[])
    for downbeats, name in ((backing_grid.downbeats, "as generated"), (aligned_grid.downbeats, "aligned")):
        downbeats = downbeats[downbeats < song.downbeats[-1] + 1]
        distance = downbeats[:, None] - song.downbeats
        nearest = distance[np.arange(len(downbeats)), np.abs(distance).argmin(axis=1)]
        axes[2].plot(downbeats, 1000 * nearest, "o-", ms=4, lw=0.8, label=name)
    axes[2].set(ylabel="ms from the song's", xlabel="seconds", xlim=(0, REMIX_SECONDS))
    axes[2].legend()
    _save(figure, path)


def _spectrogram(axis: Axes, sound: Sound, rate: int, start: float) -> None:
    levels = librosa.amplitude_to_db(np.abs(librosa.stft(sound, n_fft=1024, hop_length=128)), ref=np.max)
    extent = (start, start + len(sound) / rate, 0, rate / 2000)
    axis.imshow(levels, origin="lower", aspect="auto", vmin=-60, vmax=0, extent=extent)
    axis.set(ylabel="kHz", ylim=(0, 10))


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    pyplot.close(figure)


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    arguments = parser.parse_args()
    draw_loop(arguments.weights, arguments.out / "loop.png")
    draw_remix(arguments.out / "remix.png")


if __name__ == "__main__":
    main()
