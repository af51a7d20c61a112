"""Draws the spectrograms in demo/README.md: songs before and after the codec, and clips generated from prompts.

python -m demo.pictures --weights weights --out demo/pictures
"""

import argparse
from pathlib import Path

import librosa
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

from demo.synth import HELD_BACK, SAMPLE_RATE, Synthesiser
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore

matplotlib.use("Agg")
from matplotlib import pyplot

SECONDS = 5.0
PROMPTS = (
    "rock guitar with drums, 120 bpm, e minor",
    "120 bpm, rock guitar, no drums, e minor",
    "lofi piano with soft drums, 90 bpm, a minor",
    "upbeat house synth with drums, 125 bpm, c major",
)


def draw(clips: dict[str, NDArray[np.float32]], path: Path) -> None:
    """Draw spectrograms in rows, each with its title."""
    figure, axes = pyplot.subplots(len(clips), 1, figsize=(9, 1.9 * len(clips)), layout="constrained")
    for axis, (title, audio) in zip(axes, clips.items(), strict=True):
        decibels = librosa.amplitude_to_db(np.abs(librosa.stft(audio, n_fft=2048, hop_length=256)), ref=30)
        extent = (0, len(audio) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
        axis.imshow(decibels, origin="lower", aspect="auto", vmin=-60, vmax=10, extent=extent)
        axis.set(title=title, ylabel="kHz", ylim=(0, 8))
    axes[-1].set_xlabel("seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    pyplot.close(figure)


def round_trips(model: MusicGenModel) -> dict[str, NDArray[np.float32]]:
    """Two held-back songs, each before and after the codec."""
    clips = {}
    for seed, style in ((1, "pop"), (2, "lofi")):
        song = Synthesiser().song(HELD_BACK + seed, SECONDS, style=style, drums=True, beats_per_bar=4)
        clips[f"song: {song.caption}"] = song.audio
        codes = model.encode(torch.from_numpy(song.audio)[None])
        clips[f"after the codec ({style})"] = model.decode(codes)[0].numpy()
    return clips


def prompted(model: MusicGenModel) -> dict[str, NDArray[np.float32]]:
    """Generate a clip for each of PROMPTS with seed 0."""
    clips = {}
    for prompt in PROMPTS:
        generator = torch.Generator(model.device).manual_seed(0)
        request = SlotRequest(Condition(prompt), None, round(SECONDS * model.frame_rate), Sampling(), generator)
        [codes] = model.generate_tokens([request], lambda _done, _of: None)
        clips[prompt] = model.decode(codes)[0].numpy()
    return clips


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--out", type=Path, default=Path("demo/pictures"))
    arguments = parser.parse_args()
    model = load_model(WeightStore(arguments.weights).checkpoint(arguments.checkpoint), torch.device("cpu"))
    draw(round_trips(model), arguments.out / "codec.png")
    draw(prompted(model), arguments.out / "prompts.png")


if __name__ == "__main__":
    main()
