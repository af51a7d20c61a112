"""Trains the demo language model, and the T5 that reads for it, on the teacher's codes of endless new songs.

python -m demo.training.train_language_model FOLDER --steps 6000
"""

import argparse
import math
import multiprocessing
import re
import time
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demo.training import text_encoder as text
from demo.training.evaluation import Probe
from demo.training.helpers import average_in, save
from demo.training.language_model import conditions, create, losses
from demo.training.quantiser import Quantiser
from demo.training.rhythm_init import BEATS_PER_BAR, FRAMES_PER_MINUTE
from demo.training.songs import Shard, drum_shards, shard_path, write_shards

BATCH_FRAMES = 2000  # frames in a batch, of clips of one length
PEAK_RATE = 1.2e-3
STARTED_SHARE = 0.03  # of that rate, for what starts out knowing something: T5 and the clocks (0.3 loses them)
WARM_UP = 60  # steps
AVERAGING = 0.998  # decay of the averaged weights that are exported
FIRST_SHARDS, STEPS_PER_SHARD = 12, 40  # training starts with some songs and keeps getting new ones
DRUMS_FIRST, DRUMS_LAST = 0.5, 0.1  # share of clips that are drums alone, at first and at last
DRUM_STEPS = 800  # when the last share would be none
OPENING_WEIGHT = 5.0  # of a clip's first second, which the words decide; what follows mostly goes on from it
RUN = 25  # frames of an interruption by another clip
SILENT = 0.25  # share of clips that silence breaks into in place of another clip
STUCK = 0.8  # largest share of a clip's bars that play what the bar before played
WEIGHTS = (0.4, 0.2, 0.2, 0.2, 3.0)  # of the codebooks and of hits; drums have the tempo, one too many is heard at once
DRAWN = 0.25  # how much the same losses count as drawn
NO_TEXT, NO_TEMPO, NO_MELODY, NOTHING = 0.1, 0.08, 0.45, 0.3  # shares of clips without one condition, or any


class Clocks:
    """Keeps what starts out knowing something from being lost in the first hundred steps: it learns more slowly.

    Adam moves every weight by about the learning rate, however small its gradient is.
    """

    def __init__(self, lm: Any, masks: dict[str, Tensor]) -> None:
        parameters = dict(lm.named_parameters())
        self.slow = [(parameters[name], mask.to(parameters[name].device)) for name, mask in masks.items() if mask.any()]

    @torch.no_grad()
    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """A step of the optimiser, of which these weights take STARTED_SHARE."""
        before = [parameter.clone() for parameter, _ in self.slow]
        optimiser.step()
        for (parameter, mask), old in zip(self.slow, before, strict=True):
            parameter.copy_(torch.where(mask, old.lerp(parameter, STARTED_SHARE), parameter))


class Songs:
    """Draws batches from the shards that step `step` may see; the same step always draws the same batch."""

    def __init__(self, folder: Path, shards: int) -> None:
        self.folder, self.shards = folder, shards
        self.loaded: dict[Path, Shard] = {}

    def _shard(self, path: Path) -> Shard:
        while path not in self.loaded:
            if path.exists():
                self.loaded[path] = Shard(**torch.load(path, weights_only=True))
            else:
                time.sleep(1)
        return self.loaded[path]

    def batch(self, step: int) -> tuple[Tensor, list[str | None], list[Tensor | None]]:
        """Codes, captions and melodies of a batch, with some conditions left out."""
        random = np.random.default_rng(step)
        available = min(self.shards, FIRST_SHARDS + step // STEPS_PER_SHARD)
        long = random.random() < 0.2
        paths = [shard_path(self.folder, index) for index in range(available) if (index % 4 == 3) == long]
        drums = [shard_path(self.folder, index, drums_alone=True) for index in range(drum_shards(self.shards))]
        drum_share = 0 if long else max(DRUMS_LAST, DRUMS_FIRST * (1 - step / DRUM_STEPS))
        picks = []
        for _ in range(BATCH_FRAMES // (1000 if long else 500)):
            choices = drums if random.random() < drum_share else paths
            picks.append(self._shard(choices[int(random.integers(len(choices)))]))
        codes, captions, melodies = [], [], []
        for shard in picks:
            song = int(random.integers(len(shard.captions)))
            codes.append(shard.codes[song].long())
            nothing = random.random() < NOTHING
            caption = shard.captions[song]
            if random.random() < NO_TEMPO:
                caption = re.sub(r"(, )?\d+ bpm(, )?", ", ", caption).strip(", ")
            captions.append(None if nothing or random.random() < NO_TEXT else caption)
            heard = (shard.lead if random.random() < 0.6 else shard.mix)[song]
            melodies.append(None if nothing or random.random() < NO_MELODY else heard)
        return torch.stack(codes), captions, melodies


def interrupted(codes: Tensor, captions: list[str | None], silence: Tensor, step: int) -> Tensor:
    """Codes ``[batch, CODEBOOKS, frames]`` as they might be had they been drawn: with what should not have come.

    Music that goes on from itself alone need not heed the words after the first second, and one wrong hit that is drawn
    in generation is then taken up for good. Predicting a clip from where another one breaks in for half a second, it
    must. Some clips are hardly ever interrupted and some nearly all the time, as a clip that has lost its key is wrong
    for seconds: the share is the square of an even draw, a third on average. Into some clips silence breaks in, whose
    codes are ``[CODEBOOKS]``: a song that has gone quiet by chance would otherwise stay so.

    A chord that was missed when it was due is not made up for either, in songs where none ever is. So in some clips a
    bar plays again in place of the next, once or over and over.
    """
    generator = torch.Generator().manual_seed(step)
    share = torch.rand(len(codes), 1, 1, generator=generator).square()
    foreign = torch.rand(len(codes), 1, -(-codes.shape[-1] // RUN), generator=generator) < share
    foreign = foreign.repeat_interleave(RUN, dim=-1)[..., : codes.shape[-1]].to(codes.device)
    silent = (torch.rand(len(codes), 1, 1, generator=generator) < SILENT).to(codes.device)
    breaking_in = torch.where(silent, silence[:, None], codes.roll(1, 0))
    heard = codes.clone()
    for clip, caption in enumerate(captions):
        tempo = re.search(r"(\d+) bpm", caption or "")
        if tempo:
            bars = torch.split(heard[clip], round(BEATS_PER_BAR * FRAMES_PER_MINUTE / int(tempo[1])), dim=-1)
            stuck = torch.rand(len(bars), generator=generator) < STUCK * torch.rand(1, generator=generator)
            for (before, bar), stays in zip(pairwise(bars), stuck[1:], strict=True):
                if stays:
                    bar.copy_(before[:, : bar.shape[-1]])
    return torch.where(foreign, breaking_in, heard)


def song_loss(lm: Any, songs: Songs, step: int, sounding: Tensor, silence: Tensor) -> tuple[Tensor, Tensor]:
    """What the model makes of a step's batch: the loss to train on, and the `losses` it is made of."""
    codes, captions, melodies = songs.batch(step)
    codes = codes.to(sounding.device)
    tensors = conditions(lm, [*captions, None], [*melodies, None])
    heard = interrupted(codes, captions, silence, step)
    codes, heard = (torch.cat([clips, clips[:1]]) for clips in (codes, heard))
    each = losses(lm, codes, tensors, sounding, OPENING_WEIGHT, heard)
    weights = torch.tensor([[1.0], [DRAWN]], device=each.device) * torch.tensor(WEIGHTS, device=each.device)
    return (weights * each).sum(), each.detach()


def learning_rate(step: int, steps: int) -> float:
    """Warm-up, then a cosine down to a fiftieth."""
    return PEAK_RATE * min(1, (step + 1) / WARM_UP) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))


def train(folder: Path, steps: int, shards: int, device: str = "cpu", report_every: int = 50) -> Path:
    """Trains for `steps` steps, going on from `folder`'s checkpoint if there is one; returns the checkpoint's path.

    `folder` holds the quantiser that `train_codec` fits; shards of songs and checkpoints are written there too.
    """
    torch.manual_seed(0)
    quantiser = Quantiser(**torch.load(folder / "quantiser.pt", weights_only=True))
    encoder = folder / "t5"
    if not encoder.exists():
        text.write_tokenizer(encoder)
        text.write_encoder(encoder)
    lm, masks = create(encoder)
    lm = lm.to(device).train()
    clocks = Clocks(lm, masks)
    chroma = lm.condition_provider.conditioners["self_wav"].chroma
    writer = multiprocessing.get_context("spawn").Process(
        target=_write, args=(folder / "shards", quantiser, chroma, shards), daemon=True
    )
    writer.start()
    optimiser = torch.optim.AdamW(lm.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.05)
    average = {name: value.detach().clone() for name, value in lm.state_dict().items()}
    checkpoint, first = folder / "lm.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        lm.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        average, first = saved["average"], saved["step"]
    probe, sounding, silence = Probe(quantiser, chroma), quantiser.sounding().to(device), quantiser.silence().to(device)
    songs, recent, began = Songs(folder / "shards", shards), deque[Tensor](maxlen=report_every), time.time()
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps)
        loss, each = song_loss(lm, songs, step, sounding, silence)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        clocks.step(optimiser)
        recent.append(each)
        average_in(average, lm, min(AVERAGING, (step + 1) / (step + 20)))
        if (step + 1) % report_every == 0 or step + 1 == steps:
            speed = (step + 1 - first) * BATCH_FRAMES / (time.time() - began)
            means = torch.stack(list(recent)).mean(0).double().cpu().numpy().round(3).tolist()
            print(
                f"step {step + 1}/{steps}  {time.time() - began:.0f} s  {speed:.0f} frames/s  loss {means}", flush=True
            )
        if (step + 1) % (2 * report_every) == 0 or step + 1 == steps:
            print(f"  held back: {probe(lm)}", flush=True)
            state = {
                "model": lm.state_dict(),
                "optimiser": optimiser.state_dict(),
                "average": average,
                "step": step + 1,
            }
            save(checkpoint, state)
    writer.terminate()
    return checkpoint


def _write(folder: Path, quantiser: Quantiser, chroma: torch.nn.Module, shards: int) -> None:
    torch.set_num_threads(1)
    write_shards(folder, quantiser, chroma, shards)


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--shards", type=int, default=120)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    train(arguments.folder, arguments.steps, arguments.shards, arguments.device)


if __name__ == "__main__":
    main()
