"""The engine in exact mode gives the tokens that audiocraft's own loop gives."""

import dataclasses

import pytest
import torch

from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.paths import windows
from tests.engine.conftest import KINDS, Pair
from tests.support import tokens as support

TEXT = "a slow rock song with guitar and drums"
CARD = 128


def generate(
    model: MusicGenModel,
    melody: torch.Tensor | None,
    prompt: torch.Tensor | None,
    length: int,
    sampling: Sampling,
    seed: int,
) -> torch.Tensor:
    return support.generate(model, Condition(TEXT, melody), length, seed=seed, prefix_tokens=prompt, sampling=sampling)


def assert_same(
    pair: Pair, sampling: Sampling, prompt: torch.Tensor | None = None, length: int = 40, seed: int = 1
) -> None:
    tokens = [generate(model, pair.melody, prompt, length, sampling, seed) for model in (pair.reference, pair.model)]
    assert torch.equal(*tokens)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(top_k=0),
        Sampling(top_k=1),
        Sampling(top_k=5000),
        Sampling(top_p=0.8),
        Sampling(top_p=0.8, top_k=3, temperature=1.4),
        Sampling(temperature=0.0),
        Sampling(temperature=0.7, top_k=20),
        Sampling(guidance=1.0),
        Sampling(guidance=0.0),
        Sampling(guidance=7.5),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_sampling_method(pairs: dict[str, Pair], kind: str, sampling: Sampling) -> None:
    assert_same(pairs[kind], sampling)


@pytest.mark.parametrize("seed", [0, 2, 2**31, 2**40 + 7])
@pytest.mark.parametrize("kind", KINDS)
def test_seeds(pairs: dict[str, Pair], kind: str, seed: int) -> None:
    assert_same(pairs[kind], Sampling(), seed=seed)


@pytest.mark.parametrize("frames", [1, 3, 39])
@pytest.mark.parametrize("kind", KINDS)
def test_continuation(pairs: dict[str, Pair], kind: str, frames: int) -> None:
    codebooks = 8 if "stereo" in kind else 4
    prompt = torch.randint(0, CARD, (codebooks, frames), generator=torch.Generator().manual_seed(frames))
    assert_same(pairs[kind], Sampling(), prompt)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_clips_shorter_than_the_delays(pairs: dict[str, Pair], length: int) -> None:
    assert_same(pairs["stereo-small"], Sampling(), length=length)


@pytest.mark.parametrize("text", [None, "", "guitar", "rock " * 60])
def test_no_text_and_long_text(pairs: dict[str, Pair], text: str | None) -> None:
    both = (pairs["small"].reference, pairs["small"].model)
    assert torch.equal(*(support.generate(model, Condition(text), 20, seed=4) for model in both))


def assert_same_windows(pair: Pair, window: int, length: int) -> None:
    clips: list[torch.Tensor] = []
    for model in (pair.reference, pair.model):
        config = dataclasses.replace(model.config, window=window / model.frame_rate)
        windowed = dataclasses.replace(model, config=config)
        clips += windows.generate_tokens(
            windowed, lambda _: Condition(TEXT, pair.melody), None, length, Sampling(), [9], lambda _: None
        )
    assert torch.equal(*clips)


@pytest.mark.parametrize("kind", ["small", "stereo-melody"])
def test_consecutive_windows(pairs: dict[str, Pair], kind: str) -> None:
    # MusicGen's scheme at a tenth of its length.
    assert_same_windows(pairs[kind], window=150, length=300)


@pytest.mark.slow
def test_a_minute_in_windows_of_thirty_seconds(pairs: dict[str, Pair]) -> None:
    assert_same_windows(pairs["small"], window=1500, length=3000)


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(top_k=1), Sampling(top_p=0.9), Sampling(guidance=1.0)], ids=str
)
@pytest.mark.parametrize("frames", [0, 30])
def test_the_shipped_checkpoint(shipped: Pair, sampling: Sampling, frames: int) -> None:
    prompt = shipped.model.encode(shipped.melody[:, : frames * 640]) if shipped.melody is not None and frames else None
    assert_same(shipped, sampling, prompt, length=80)


def test_progress_reports_the_same_steps_as_audiocraft(pairs: dict[str, Pair]) -> None:
    reported: list[list[tuple[int, int]]] = []
    for model in (pairs["small"].reference, pairs["small"].model):
        steps: list[tuple[int, int]] = []
        prompt = torch.zeros(4, 3, dtype=torch.int64)
        support.generate(
            model, Condition(TEXT), 10, prefix_tokens=prompt, on_step=lambda *step, to=steps: to.append(step)
        )
        reported.append(steps)
    assert reported[0] == reported[1]
    assert reported[1][-1] == (10, 10)
