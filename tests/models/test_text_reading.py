"""How much of a prompt the text encoder reads, and what is told of the rest."""

from pathlib import Path

import pytest
import torch

from musicgen_service.models import text_reading
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from musicgen_service.models.text_reading import MOST_TOKENS, TextReading


@pytest.fixture(scope="module")
def demo() -> MusicGenModel:
    return load_model(WeightStore(Path("weights")).checkpoint("demo"), torch.device("cpu"))


def told(model: MusicGenModel, prompt: str) -> list[str]:
    reading = model.read_text(prompt)
    return text_reading.notes(model.name, reading, reading)


@pytest.mark.parametrize(
    "prompt",
    [
        "lofi piano with soft drums, 90 bpm, a minor",
        "ROCK!",
        "C# minor",
        "hip-hop, 90s beat",
        "ambient, a, b",
        "lofi piano with dusty vinyl",
        "120 bpm",
        "(120-122BPM)!",
    ],
)
def test_a_prompt_of_words_that_are_known_is_fine(prompt: str, demo: MusicGenModel) -> None:
    assert told(demo, prompt) == []


@pytest.mark.parametrize(
    "prompt",
    [
        "静かなピアノ、ゆっくり",
        "激しいヘヴィメタルのドラム",
        "тихое пианино",
        "موسيقى هادئة",
        "🎷🔥",
        "xylotron qwerty",
        "静かなピアノ 120-122 bpm",
    ],
)
def test_a_prompt_of_which_nothing_is_known_is_told(prompt: str, demo: MusicGenModel) -> None:
    assert told(demo, prompt) == [
        "The text encoder of model 'demo' knows none of the prompt's words: describe it in English."
    ]


def test_a_prompt_of_which_little_is_known_is_told(demo: MusicGenModel) -> None:
    assert told(demo, "тихое медленное пианино, jazz") == [
        "The text encoder of model 'demo' knows 1 of the prompt's 4 words: describe it in English."
    ]


def tokens_of(model: MusicGenModel, prompt: str) -> list[int]:
    return model.tokenizer.tokens(prompt)


def test_the_encoder_reads_512_tokens_and_the_rest_is_told(demo: MusicGenModel) -> None:
    fits = " ".join(["rock"] * (MOST_TOKENS - 1))  # and the end mark
    assert len(tokens_of(demo, fits)) == MOST_TOKENS and told(demo, fits) == []
    longer = fits + " jazz piano"
    assert tokens_of(demo, longer) == tokens_of(demo, fits)
    assert told(demo, longer) == [
        "The prompt is 514 tokens long and the text encoder reads 512: what comes after its first "
        f"{len(fits)} characters has no effect."
    ]
    assert tokens_of(demo, "jazz " + fits) != tokens_of(demo, fits)


@pytest.mark.parametrize("prompt", ["a" * 4000, "1234567890" * 400, "la " * 1333])
def test_the_work_for_a_prompt_is_bounded(prompt: str, demo: MusicGenModel) -> None:
    # It grows with the square of the tokens in the encoder, and with the tokens in each step of the decoder.
    assert demo.read_text(prompt).tokens > 3000
    assert len(tokens_of(demo, prompt)) == MOST_TOKENS


def test_a_bpm_that_is_added_counts_and_its_words_do_not() -> None:
    prompt, description = TextReading(512, 512, 9, 2, 0), TextReading(515, 512, 9, 4, 2)
    assert [sentence[:30] for sentence in text_reading.notes("x", prompt, description)] == [
        "The prompt is 515 tokens long ",
        "The text encoder of model 'x' ",
    ]
