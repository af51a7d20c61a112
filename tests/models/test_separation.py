"""Separation of vocals and accompaniment with demucs's own loading code and random weights."""

import numpy as np
import pytest
import torch

from musicgen_service.analysis import stems
from musicgen_service.audio.reading import Audio
from musicgen_service.models.catalogue import HTDEMUCS
from musicgen_service.models.separation import DemucsSeparator
from musicgen_service.models.store import WeightStore
from tests.support.sounds import tone


def nothing(_share: float) -> None:
    """Nobody asks how far it is."""


@pytest.fixture(scope="module")
def separator(store: WeightStore) -> DemucsSeparator:
    return DemucsSeparator(store.component(HTDEMUCS), torch.device("cpu"))


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(44_100, 2, 1.5), (32_000, 1, 1.5), (8_000, 1, 0.1)])
def test_stems_are_as_long_as_the_song(separator: DemucsSeparator, rate: int, channels: int, seconds: float) -> None:
    song = Audio(tone(seconds, channels, rate=rate), rate)
    for part in stems.vocals_and_accompaniment(song, separator, nothing):
        assert part.rate == separator.rate == 44_100 and part.samples.shape == (2, round(seconds * 44_100))
        assert np.isfinite(part.samples).all() and part.samples.dtype == np.float32


def test_sources_are_the_four_of_demucs(separator: DemucsSeparator) -> None:
    assert set(separator.separate(tone(0.1, 2, rate=44_100), nothing)) == {"vocals", "drums", "bass", "other"}


def test_same_song_gives_the_same_stems(separator: DemucsSeparator) -> None:
    song = Audio(tone(1, 2), 32_000)
    first, second = (stems.vocals_and_accompaniment(song, separator, nothing)[0].samples for _ in range(2))
    assert np.array_equal(first, second)
