"""The text encoder is bit-identical to transformers' T5 on the same folder."""

from pathlib import Path
from typing import Any

import pytest
import torch

import musicgen_service.models.audiocraft_imports  # noqa: F401  (transformers looks for torchaudio)

# isort: split
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration, T5Tokenizer

from musicgen_service.models import t5_encoder
from musicgen_service.models.catalogue import T5
from musicgen_service.models.tokenizer import TextTokenizer

CPU = torch.device("cpu")
SHAPE: dict[str, Any] = {"vocab_size": 99, "d_model": 48, "d_kv": 8, "d_ff": 96, "num_layers": 3, "num_heads": 4}
TEXTS = ["rock", "lofi piano with soft drums, 90 bpm", "jazz " * 600, "  ", "静かな 🎷 a\tb\n c", "</s> <pad> a"]


@torch.no_grad()
def assert_same_embeddings(folder: Path, theirs: T5EncoderModel, lengths: tuple[int, ...]) -> None:
    """Compare embeddings for a text of each length, batched with a shorter one."""
    ours = t5_encoder.load(folder, CPU)
    generator = torch.Generator().manual_seed(1)
    for length in lengths:
        tokens = torch.randint(0, SHAPE["vocab_size"], (2, length), generator=generator)
        is_text = torch.ones_like(tokens, dtype=torch.bool)
        is_text[1, (length + 1) // 2 :] = False
        expected = theirs(input_ids=tokens, attention_mask=is_text.long()).last_hidden_state
        assert torch.equal(ours(tokens, is_text), expected), length


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return tmp_path


@pytest.mark.parametrize("feedforward", ["relu", "gated-gelu"])
def test_random_encoders_equal_transformers(folder: Path, feedforward: str) -> None:
    theirs = T5EncoderModel(T5Config(**SHAPE, feed_forward_proj=feedforward)).train(False)
    theirs.save_pretrained(folder)
    # From one token to beyond the longest distance with a bias of its own.
    assert_same_embeddings(folder, theirs, (1, 2, 9, 33, 130, 512))


def test_shipped_encoder_equals_transformers() -> None:
    folder = Path("weights/demo/t5")
    assert_same_embeddings(folder, T5EncoderModel.from_pretrained(folder).train(False), (1, 12, 200))


def test_folder_may_also_hold_a_decoder(folder: Path) -> None:
    T5ForConditionalGeneration(T5Config(**SHAPE)).save_pretrained(folder)
    assert_same_embeddings(folder, T5EncoderModel.from_pretrained(folder).train(False), (7,))


def test_folder_may_hold_weights_in_torch_format(folder: Path) -> None:
    theirs = T5EncoderModel(T5Config(**SHAPE)).train(False)
    theirs.config.save_pretrained(folder)
    torch.save(theirs.state_dict(), folder / "pytorch_model.bin")
    assert_same_embeddings(folder, theirs, (7,))


def test_unsupported_architecture_is_rejected(folder: Path) -> None:
    T5EncoderModel(T5Config(**SHAPE, feed_forward_proj="silu")).save_pretrained(folder)
    with pytest.raises(ValueError, match="'silu' is not known"):
        t5_encoder.load(folder, CPU)


def test_weights_of_another_shape_are_rejected(folder: Path) -> None:
    T5EncoderModel(T5Config(**SHAPE)).save_pretrained(folder)
    T5Config(**{**SHAPE, "d_ff": 95}).save_pretrained(folder)
    with pytest.raises(RuntimeError, match=r"blocks\.0\.feedforward\.wi\.weight"):
        t5_encoder.load(folder, CPU)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("which", ["demo", "random"])
def test_tokens_equal_those_of_transformers(weights: Path, which: str, text: str) -> None:
    folder = Path("weights/demo/t5") if which == "demo" else weights / T5
    theirs = T5Tokenizer.from_pretrained(folder)(text, truncation=True, max_length=512)["input_ids"]
    assert TextTokenizer(folder).tokens(text) == theirs


def test_long_text_is_truncated_and_keeps_its_end_token() -> None:
    tokenizer = TextTokenizer(Path("weights/demo/t5"))
    tokens = tokenizer.tokens("rock " * 600)
    assert len(tokens) == tokenizer.limit == 512
    assert tokens[-1] == tokenizer.tokens("")[0] and tokens[-1] not in tokens[:-1]
