"""Fits our own networks that hear beats and writes their weights (`musicgen_service/analysis/beat_network.npz`).

    python -m bench.rendered --clips 1200 --split training
    python -m demo.fit_beat_network && python -m demo.fit_metre

There are several, each of which learns from the recordings of some folds (`demo.metre_recordings`): for the model of
beats and bars, which learns from what they hear, each recording is heard by one that has not learned from it. On
two cores, rendering the clips takes about half an hour, hearing all recordings 20 minutes, and all networks an hour.

The shipped networks 0 to 2 are from an earlier fit, with half as many frames and the scores among the first 600 clips.
"""

from multiprocessing import Pool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from demo import metre_examples
from demo.beat_network_module import Network
from demo.metre_recordings import NETWORKS, Maker, networks_of
from musicgen_service.analysis import beat_network, beats
from musicgen_service.analysis.beat_network import LOWEST_TEMPO, NETWORK_RATE, PER_OCTAVE, TEMPI
from musicgen_service.analysis.envelopes import MELS

Array = NDArray[np.float32]
FRAMES, CROP, BATCH, RATE = 80_000_000, 800, 24, 3e-3
_DECAY, _WARMING_UP, _LARGEST_GRADIENT = 1e-3, 0.15, 1.0
_BEATS, _DOWNBEATS, _TEMPO = 2.0, 3.0, 0.05  # weights of frames with beats, with downbeats, and of the tempo
_SHARES = {"score": 4.0, "groove": 1.0, "song": 1.2, "sound": 2.0, "part": 0.5}
"""Kinds of recordings, and how often each second of them is seen."""
_STRETCHED, _STRETCH = 0.5, 0.12
_SHIFT = 3  # mel bands
_EQUALISED, _LEVEL, _TILT = 0.5, 0.3, 0.2
_WITHOUT_BEATNET = 0.35  # how often its output is left out
PLACE = Path(beat_network.__file__).with_name("beat_network.npz")


class Sound(NamedTuple):
    """A sound to learn from.

    Attributes
    ----------
    inputs : float16 ``[features, frames]``
    beats, downbeats : in frames; downbeats are None where nothing tells where bars begin
    tempo : beats per minute, 0 for none
    fold : see `metre_recordings.Recording`
    share : how often it is seen
    """

    inputs: NDArray[np.float16]
    beats: Array
    downbeats: Array | None
    tempo: float
    fold: int
    share: float


def sounds(maker: Maker, folder: Path) -> list[Sound]:
    """A recording and, where it is short, it repeated.

    Parameters
    ----------
    folder : where what is heard is kept
    """
    heard = metre_examples.hear(maker, folder)
    result = []
    for number, (loudness, envelopes, probabilities) in enumerate(heard.sounds):
        inputs = beat_network.inputs(loudness, envelopes, beats.as_rows(probabilities, envelopes.shape[1]))
        frames = inputs.shape[1]
        starts = np.arange(0, frames / NETWORK_RATE, heard.seconds) if number else np.zeros(1)
        marks = [
            (starts[:, None] + times).ravel().astype(np.float32) * NETWORK_RATE
            for times in (heard.beats, heard.downbeats)
        ]
        tempo = float(60 / np.median(np.diff(heard.beats))) if len(heard.beats) > 1 else 0.0
        share = _SHARES[maker.kind] * min(frames, CROP) / len(heard.sounds)
        downbeats = None if heard.any_bar else marks[1]
        result.append(Sound(inputs.astype(np.float16), marks[0], downbeats, tempo, heard.fold, share))
    return result


class Batch(NamedTuple):
    """What is learned from at once.

    Attributes
    ----------
    inputs, targets : ``[batch, features, frames]``, and ``[batch, 2, frames]`` of beats and downbeats
    mask : 1 where a recording is, 0 after its end, ``[batch, frames]``
    tempi : the probabilities of TEMPI that are wanted, ``[batch, tempi]``
    has_bars, has_tempo : 1 where downbeats, and where the tempo, are known, ``[batch]``
    """

    inputs: Array
    targets: Array
    mask: Array
    tempi: Array
    has_bars: Array
    has_tempo: Array


def drawn(every: list[Sound], shares: NDArray[np.float64], random: np.random.Generator) -> Batch:
    """Draw parts of sounds, and change them: stretched, shifted in pitch, equalised, without BeatNet."""
    batch = Batch(
        np.zeros((BATCH, len(every[0].inputs), CROP), np.float32),
        np.zeros((BATCH, 2, CROP), np.float32),
        np.zeros((BATCH, CROP), np.float32),
        np.zeros((BATCH, len(TEMPI)), np.float32),
        np.zeros(BATCH, np.float32),
        np.zeros(BATCH, np.float32),
    )
    for place, number in enumerate(random.choice(len(every), BATCH, p=shares)):
        sound = every[number]
        speed = float(random.uniform(1 - _STRETCH, 1 + _STRETCH)) if random.random() < _STRETCHED else 1.0
        whole = int(CROP * speed) + 1
        start = int(random.integers(0, max(sound.inputs.shape[1] - whole, 0) + 1))
        inputs = _stretched(sound.inputs[:, start : start + whole].astype(np.float32), speed)[:, :CROP]
        inputs = _changed(inputs, random)
        frames = inputs.shape[1]
        batch.inputs[place, :, :frames], batch.mask[place, :frames] = inputs, 1
        for row, marks in enumerate((sound.beats, sound.downbeats)):
            if marks is not None:
                batch.targets[place, row] = _target((marks - start) / speed)
        batch.has_bars[place] = sound.downbeats is not None
        if sound.tempo:
            batch.tempi[place], batch.has_tempo[place] = _tempo_target(sound.tempo * speed), 1
    return batch


def _stretched(inputs: Array, speed: float) -> Array:
    if speed == 1:
        return inputs
    at = np.arange(int(inputs.shape[1] / speed)) * speed
    before = np.minimum(at.astype(int), inputs.shape[1] - 1)
    after = np.minimum(before + 1, inputs.shape[1] - 1)
    share = (at - before).astype(np.float32)
    return inputs[:, before] * (1 - share) + inputs[:, after] * share


def _changed(inputs: Array, random: np.random.Generator) -> Array:
    loudness, rises, rest = np.split(inputs, [MELS, 2 * MELS])
    shift = int(random.integers(-_SHIFT, _SHIFT + 1))
    loudness, rises = np.roll(loudness, shift, axis=0), np.roll(rises, shift, axis=0)
    if random.random() < _EQUALISED:
        tilt = np.linspace(-1, 1, MELS, dtype=np.float32)[:, None] * random.uniform(-_TILT, _TILT)
        loudness = np.maximum(loudness + random.uniform(-_LEVEL, _LEVEL) + tilt, 0)
    if random.random() < _WITHOUT_BEATNET:
        rest = np.concatenate([rest[:-2], np.zeros_like(rest[-2:])])
    return np.concatenate([loudness, rises, rest]).astype(np.float32)


def _target(marks: Array) -> Array:
    """1 at each mark, in frames, and half beside it, ``[CROP]``."""
    result = np.zeros(CROP + 4, np.float32)
    at = np.round(marks).astype(int)
    at = at[(at >= -1) & (at <= CROP)] + 2
    result[at - 1] = result[at + 1] = 0.5
    result[at] = 1
    return result[2:-2]


def _tempo_target(tempo: float) -> Array:
    """A bell around a tempo among TEMPI; all zero where it is far from them."""
    distances = np.arange(len(TEMPI)) - PER_OCTAVE * np.log2(tempo / LOWEST_TEMPO)
    bell = np.exp(-0.5 * distances**2)
    return (bell / max(float(bell.sum()), 1e-9)).astype(np.float32)


def loss(network: Network, batch: Batch) -> torch.Tensor:
    """Binary cross-entropy of beats and of downbeats, per frame, and cross-entropy of the tempo."""
    inputs, targets, mask, tempi, has_bars, has_tempo = (torch.from_numpy(part) for part in batch)
    scores, guesses = network(inputs, mask)
    losses = nn.functional.binary_cross_entropy_with_logits(
        scores, targets, reduction="none", pos_weight=torch.tensor([[_BEATS], [_DOWNBEATS]])
    )
    losses = losses * mask[:, None]
    losses = losses[:, 0].sum() + (losses[:, 1] * has_bars[:, None]).sum()
    tempo = -(torch.log_softmax(guesses, 1) * tempi).sum(1) * has_tempo
    result: torch.Tensor = losses / mask.sum() + _TEMPO * tempo.mean()
    return result


def fit(every: list[Sound], seed: int) -> Network:
    """Fit a network to sounds."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = Network(len(every[0].inputs))
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=_DECAY)
    steps = FRAMES // (CROP * BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=_WARMING_UP)
    shares = np.array([sound.share for sound in every])
    shares /= shares.sum()
    recent = []
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        value = loss(network, drawn(every, shares, random))
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        recent.append(value.item())
        if step % 100 == 0:
            print(f"network {seed}, step {step} of {steps}: {np.mean(recent[-100:]):.4f}", flush=True)
    return network


def weights(every: list[Sound], number: int) -> dict[str, NDArray[np.float32]]:
    """Fit a network to the sounds of its folds.

    Parameters
    ----------
    number : of the network

    Returns
    -------
    Its weights by their names.
    """
    torch.set_num_threads(1)  # a process for each network
    learned = [sound for sound in every if number not in range(NETWORKS)[networks_of(sound.fold)]]
    return fit(learned, number).weights()


def main() -> None:
    """Fit all networks and write their weights."""
    learned = metre_examples.from_command_line(__doc__ or "", sounds)
    every = [sound for found in learned for sound in found]
    with Pool(NETWORKS) as pool:
        networks = pool.starmap(weights, [(every, number) for number in range(NETWORKS)])
    arrays: dict[str, Any] = {
        name: np.stack([network[name] for network in networks]).astype(np.float16) for name in networks[0]
    }
    np.savez_compressed(PLACE, **arrays)


if __name__ == "__main__":
    main()
