"""Windows: any length, no frame lost or doubled, and the same scheme as audiocraft's."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import torch

from musicgen_service.engine.interface import Condition, OnStep, Sampling, SlotRequest, TokenGenerator
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from musicgen_service.paths import windows

CPU = torch.device("cpu")


class Counting:
    """A generator whose tokens are positions in the clip, which makes lost or doubled frames detectable."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, int]] = []

    def generate_many(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        [request] = requests
        start, prompt, length = int(request.condition.text or 0), request.prefix_tokens, request.length
        known = 0 if prompt is None else prompt.shape[-1]
        assert known < length, "nothing to generate"
        self.calls.append((start, known, length))
        on_step(1, 1)
        tokens = torch.arange(start, start + length).repeat(4, 1)
        if prompt is not None:
            assert torch.equal(prompt, tokens[:, :known])
        return [tokens]


@pytest.fixture(scope="module")
def melody_model(store: WeightStore) -> MusicGenModel:
    return load_model(store.checkpoint("melody"), CPU)


def counted(model: MusicGenModel, length: int, prompt: int = 0) -> tuple[torch.Tensor, Counting, list[float]]:
    counting = Counting()
    reports: list[float] = []
    known = torch.arange(prompt).repeat(4, 1) if prompt else None
    counted_model = replace(model, generator=cast(TokenGenerator, counting))
    [tokens] = windows.generate_tokens(
        counted_model, lambda start: Condition(str(start)), known, length, Sampling(), [0], reports.append
    )
    return tokens, counting, reports


LENGTHS = (1, 50, 1499, 1500, 1501, 1863, 2265, 2444, 2445, 6000, 30_000)
PROMPTS = (0, 10, 600, 1499)


@pytest.mark.parametrize(
    ("length", "prompt"), [(length, prompt) for length in LENGTHS for prompt in PROMPTS if prompt < length]
)
def test_no_frame_is_lost_or_doubled(melody_model: MusicGenModel, length: int, prompt: int) -> None:
    tokens, counting, reports = counted(melody_model, length, prompt)
    assert torch.equal(tokens, torch.arange(length).repeat(4, 1))
    assert all(window <= 1500 for _, _, window in counting.calls)
    assert reports == sorted(reports) and reports[-1] == pytest.approx(1.0)


def test_windows_advance_by_18_seconds_and_repeat_12(melody_model: MusicGenModel) -> None:
    _, counting, _ = counted(melody_model, 3000)
    assert counting.calls == [(0, 0, 1500), (900, 600, 1500), (1800, 600, 1200)]


@pytest.mark.slow
def test_long_clips_have_the_same_tokens_as_audiocraft(
    melody_model: MusicGenModel, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audiocraft.models.musicgen import MusicGen

    monkeypatch.setenv("MUSICGEN_ENGINE", "reference")
    loop = cast(ReferenceLoop, load_model(store.checkpoint("melody"), CPU).generator)
    reference = MusicGen("tiny", cast(Any, melody_model.codec), loop.lm, max_duration=30.0)
    reference.set_generation_params(duration=42.0, top_k=50)
    wav = torch.randn(1, 5 * 32_000, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(4)
    attributes, _ = reference._prepare_tokens_and_attributes(["rock song"], None, [wav])
    expected = reference._generate_tokens(attributes, None)

    def conditions_at(frame: int) -> Any:
        positions = (torch.arange(1500 * 640) + frame * 640) % wav.shape[-1]
        return Condition("rock song", wav[:, positions])

    sampling = Sampling(top_k=50)
    [tokens] = windows.generate_tokens(melody_model, conditions_at, None, 2100, sampling, [4], lambda _: None)
    assert torch.equal(tokens, expected[0])
