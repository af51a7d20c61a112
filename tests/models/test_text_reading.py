"""How much of a prompt the text encoder reads, and the notes to the client about the rest."""

from pathlib import Path

import pytest
import torch

from musicgen_service.engine.interface import MAX_TEXT_TOKENS
from musicgen_service.models import text_reading
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from musicgen_service.models.text_reading import TextReading


@pytest.fixture(scope="module")
def demo() -> MusicGenModel:
    return load_model(WeightStore(Path("weights")).checkpoint("demo"), torch.device("cpu"))


def notes_for(model: MusicGenModel, prompt: str) -> list[str]:
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
def test_known_words_give_no_note(prompt: str, demo: MusicGenModel) -> None:
    assert notes_for(demo, prompt) == []


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
def test_note_for_a_prompt_without_known_words(prompt: str, demo: MusicGenModel) -> None:
    assert notes_for(demo, prompt) == [
        "The text encoder of model 'demo' knows none of the prompt's words: "
        "describe it in plain English, by genre, instruments and tempo."
    ]


def test_note_for_a_prompt_with_few_known_words(demo: MusicGenModel) -> None:
    assert notes_for(demo, "тихое медленное пианино, jazz") == [
        "The text encoder of model 'demo' knows 1 of the prompt's 4 words: "
        "describe it in plain English, by genre, instruments and tempo."
    ]


def tokens_of(model: MusicGenModel, prompt: str) -> list[int]:
    return model.tokenizer.tokens(prompt)


def test_note_for_a_prompt_beyond_512_tokens(demo: MusicGenModel) -> None:
    fits = " ".join(["rock"] * (MAX_TEXT_TOKENS - 1))  # plus the end-of-text token
    assert len(tokens_of(demo, fits)) == MAX_TEXT_TOKENS and notes_for(demo, fits) == []
    longer = fits + " jazz piano"
    assert tokens_of(demo, longer) == tokens_of(demo, fits)
    assert notes_for(demo, longer) == [
        "The prompt is 514 tokens long and the text encoder reads 512: what comes after its first "
        f"{len(fits)} characters has no effect."
    ]
    assert tokens_of(demo, "jazz " + fits) != tokens_of(demo, fits)


@pytest.mark.parametrize("prompt", ["a" * 4000, "1234567890" * 400, "la " * 1333])
def test_prompt_is_truncated_to_512_tokens(prompt: str, demo: MusicGenModel) -> None:
    # Without a limit, the cost is quadratic in the encoder and linear in each step of the decoder.
    assert demo.read_text(prompt).tokens > 3000
    assert len(tokens_of(demo, prompt)) == MAX_TEXT_TOKENS


def test_added_bpm_counts_as_tokens_but_not_as_words() -> None:
    prompt, description = TextReading(512, 512, 9, 2, 0), TextReading(515, 512, 9, 4, 2)
    assert [sentence[:30] for sentence in text_reading.notes("x", prompt, description)] == [
        "The prompt is 515 tokens long ",
        "The text encoder of model 'x' ",
    ]
