"""Condition tensors are bit-identical to those of audiocraft's conditioners and fuser."""

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from musicgen_service.engine.interface import Condition
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models import t5_encoder
from musicgen_service.models.catalogue import T5
from musicgen_service.models.checkpoint_config import LanguageModelConfig, parse
from musicgen_service.models.conditioner import Conditioner
from musicgen_service.models.state import read_package
from musicgen_service.models.store import WeightStore
from musicgen_service.models.tokenizer import TextTokenizer
from tests.support.sounds import tone

CPU = torch.device("cpu")
FRAMES = 235
TEXTS = [None, "", "rock", "a slow rock song with guitar and drums , 90 bpm", "jazz " * 300]
MELODIES: dict[str, Any] = {
    "none": {},
    "a short waveform": {"melody": torch.from_numpy(tone(2.5))},
    "a long waveform": {"melody": torch.from_numpy(tone(40))},
    "chroma": {"chroma": torch.rand(12, FRAMES, generator=torch.Generator().manual_seed(0))},
}


def both(store: WeightStore, name: str) -> tuple[Any, Conditioner]:
    """audiocraft's language model of a checkpoint, and our conditioner."""
    package = read_package(store.path(name) / "state_dict.bin")
    config = OmegaConf.create(package["xp.cfg"])
    config.conditioners.description.t5.name = str(store.path(T5))
    lm = adapter.build_lm(config).eval()
    lm.load_state_dict(package["best_state"])
    folder = store.path(T5)
    ours = Conditioner(
        LanguageModelConfig.read(parse(package["xp.cfg"])),
        TextTokenizer(folder),
        t5_encoder.load(folder, CPU),
        package["best_state"],
        CPU,
    )
    return lm, ours


@torch.no_grad()
def assert_same(lm: Any, ours: Conditioner, condition: Condition) -> None:
    """Compare with the input of audiocraft's network: the text for cross-attention, and the prefix."""
    negative = Condition(condition.negative_text)
    tensors = lm.condition_provider([adapter.attributes(condition), adapter.attributes(negative)])
    sequence, crossed = lm.fuser(torch.zeros(2, 1, lm.dim), tensors)
    actual = ours.tensors(condition)
    assert (crossed is None) == (not actual.texts)
    assert len(actual.texts) <= (1 if condition.negative_text is None else 2)
    for row, text in enumerate(actual.texts):
        assert torch.equal(text, crossed[row, : len(text)])
        assert not crossed[row, len(text) :].any(), "what is left out is zeros"
    if actual.prefix is None:
        assert sequence.shape[1] == 1
    else:
        assert torch.equal(actual.prefix, sequence[:, :-1])


@pytest.mark.parametrize("name", ["small", "stereo-small"])
def test_text(store: WeightStore, name: str) -> None:
    lm, ours = both(store, name)
    for text in TEXTS:
        for negative in (None, "", "fast", "fast jazz song with piano , bass and drums"):
            assert_same(lm, ours, Condition(text, negative_text=negative))


@pytest.mark.parametrize("name", ["melody", "stereo-melody"])
def test_text_and_melody(store: WeightStore, name: str) -> None:
    lm, ours = both(store, name)
    for text in TEXTS:
        for melody in MELODIES.values():
            assert_same(lm, ours, Condition(text, **melody))
            assert_same(lm, ours, Condition(text, negative_text="fast jazz", **melody))
