"""The networks around the decoder compute on a GPU what they compute on a CPU."""

import pytest
import torch

from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, ConditionTensors
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from tests.gpu.conftest import GPU, KINDS

TEXT = "slow rock song with guitar and drums"
NEGATIVE = "fast jazz song with piano , bass and drums , 120 bpm"


@pytest.fixture(scope="module", params=KINDS)
def both(store: WeightStore, request: pytest.FixtureRequest) -> tuple[MusicGenModel, MusicGenModel]:
    """One checkpoint on the CPU and on the GPU, in the precision of the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICGEN_PRECISION", "exact")
        files = store.checkpoint(request.param)
        return load_model(files, torch.device("cpu")), load_model(files, GPU)


def conditions(model: MusicGenModel, condition: Condition) -> ConditionTensors:
    assert isinstance(model.generator, Engine)
    return model.generator.to_tensors(condition)


def chord(seconds: float, channels: int = 1) -> torch.Tensor:
    times = torch.arange(int(32_000 * seconds)) / 32_000
    tones = [torch.sin(2 * torch.pi * frequency * times) for frequency in (220.0, 277.2, 329.6)]
    return 0.2 * torch.stack(tones).sum(0).expand(channels, -1).clone()


def test_text_encoder(both: tuple[MusicGenModel, MusicGenModel]) -> None:
    condition = Condition(TEXT, negative_text=NEGATIVE)
    on_cpu, on_gpu = (conditions(model, condition) for model in both)
    assert on_gpu.text_lengths == on_cpu.text_lengths
    for theirs, ours in zip(on_cpu.texts, on_gpu.texts, strict=True):
        assert ours.device.type == "cuda"
        torch.testing.assert_close(ours.cpu(), theirs, atol=1e-4, rtol=1e-3)
    if on_cpu.prefix is not None:
        assert on_gpu.prefix is not None
        torch.testing.assert_close(on_gpu.prefix.cpu(), on_cpu.prefix, atol=1e-4, rtol=1e-3)


def test_melody(both: tuple[MusicGenModel, MusicGenModel]) -> None:
    if both[0].melody_span is None:
        pytest.skip("takes no melody")
    on_cpu, on_gpu = (conditions(model, Condition(TEXT, chord(2))).prefix for model in both)
    assert on_cpu is not None and on_gpu is not None
    # A frame whose two strongest pitch classes are as strong as each other may get either.
    equal = torch.isclose(on_gpu.cpu(), on_cpu, atol=1e-4, rtol=1e-3).all(-1)
    assert equal.float().mean() > 0.98


def test_codec(both: tuple[MusicGenModel, MusicGenModel]) -> None:
    audio = chord(3, both[0].channels)
    on_cpu, on_gpu = (model.encode(audio).cpu() for model in both)
    # A GPU convolves with a mantissa of 10 bits, so that some vectors have another nearest codeword.
    assert (on_cpu == on_gpu).float().mean() > 0.9
    sounds = [model.decode(on_cpu).cpu() for model in both]
    assert (sounds[0] - sounds[1]).norm() < 0.02 * sounds[0].norm()


def test_negative_text(both: tuple[MusicGenModel, MusicGenModel]) -> None:
    tokens = torch.randint(0, 128, (4 * both[0].channels, 40), generator=torch.Generator().manual_seed(0))
    scores = []
    for model in both:
        assert isinstance(model.generator, Engine)
        scores.append(model.generator.score(Condition(TEXT, negative_text=NEGATIVE), tokens, 3.0).cpu())
    torch.testing.assert_close(scores[1], scores[0], atol=2e-4, rtol=0)
