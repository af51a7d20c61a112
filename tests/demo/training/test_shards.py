"""Shards of songs: deterministic batches, and the process that writes them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from demo.training.language_model import create
from demo.training.quantiser import Quantiser
from demo.training.shards import BatchSampler, Shards, ShardWriter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chroma(t5: Path) -> torch.nn.Module:
    chroma: torch.nn.Module = create(t5)[0].condition_provider.conditioners["self_wav"].chroma
    return chroma


def test_a_step_always_draws_the_same_batch(teacher: Quantiser, chroma: torch.nn.Module, tmp_path: Path) -> None:
    shards = Shards(tmp_path, 4, 2)
    with ShardWriter(shards, teacher, chroma) as writer:
        first = [BatchSampler(shards, writer).batch(step) for step in range(12)]
        again = [BatchSampler(shards, writer).batch(step) for step in range(12)]
    assert {codes.shape for codes, _, _ in first} == {(4, 4, 500), (2, 4, 1000)}
    for (codes, captions, _), (same, same_captions, _) in zip(first, again, strict=True):
        assert torch.equal(codes, same) and captions == same_captions
    every_caption = [caption for _, captions, _ in first for caption in captions]
    assert None in every_caption and any(caption and "bpm" in caption for caption in every_caption)
    assert len(list(tmp_path.glob("drums*.pt"))) == 4 and not list(tmp_path.glob("*.partial"))


def test_failed_writer_raises_instead_of_waiting(teacher: Quantiser, tmp_path: Path) -> None:
    not_a_chroma = SimpleNamespace()  # cannot be called
    shards = Shards(tmp_path, 4, 2)
    with (
        ShardWriter(shards, teacher, not_a_chroma) as writer,  # type: ignore[arg-type]
        pytest.raises(RuntimeError, match="the process that writes shards failed"),
    ):
        writer.wait_for(shards.path(0))
