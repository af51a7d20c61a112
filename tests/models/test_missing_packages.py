"""What hears beats, chords and notes where the package of its network is missing or damaged, and what is said of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.synth import SAMPLE_RATE, Synthesiser
from musicgen_service.analysis import beats, chords
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.transcription import Transcription
from musicgen_service.models import beat_tracking, chord_recognition, packaged, transcription
from musicgen_service.models.catalogue import BASIC_PITCH, BEATNET, CREMA
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.notes import collected

GRID = BeatGrid()
NO_STORE = WeightStore(Path("nothing"))


@pytest.fixture(scope="module")
def song() -> np.ndarray:
    return Synthesiser().song(900, 4, lead=True).audio


def nothing(_share: float) -> None:
    """Nobody asks how far it is."""


HEARD: dict[str, tuple[str, Callable[[np.ndarray], Any], Callable[[np.ndarray], Any]]] = {
    BEATNET: (
        "Beats are tracked without BeatNet's networks",
        lambda song: beat_tracking.choose(NO_STORE)(song, SAMPLE_RATE, None).confidence,
        lambda song: beats.track(song, SAMPLE_RATE, None).confidence,
    ),
    CREMA: (
        "Chords are recognised as major and minor ones only",
        lambda song: chord_recognition.choose()(song, SAMPLE_RATE, GRID),
        lambda song: chords.recognise(song, SAMPLE_RATE, GRID),
    ),
    BASIC_PITCH: (
        "Melody and bass are not transcribed",
        lambda song: transcription.choose()(song, SAMPLE_RATE, nothing),
        lambda _song: Transcription([], []),
    ),
}


@pytest.mark.parametrize("name", HEARD)
@pytest.mark.parametrize("wrong", ["is not installed: run `pip install it`.", "is damaged: run `pip install it`."])
def test_every_request_has_what_needs_no_network_and_one_sentence_about_it(
    name: str, wrong: str, song: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unusable(name: str) -> list[Path]:
        raise WeightsError(f"'{name}' {wrong}")

    monkeypatch.setattr(packaged, "files", unusable)
    said, hear, hear_without = HEARD[name]
    for _request in range(2):
        with collected() as noted:
            assert hear(song) == hear_without(song)
        assert noted == [f"{said}: '{name}' {wrong}"]


@pytest.mark.parametrize("name", HEARD)
def test_with_the_package_nothing_is_said(name: str, song: np.ndarray) -> None:
    _, hear, hear_without = HEARD[name]
    with collected() as noted:
        assert hear(song) != hear_without(song)
    assert not noted
