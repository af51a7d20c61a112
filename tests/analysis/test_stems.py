"""Vocals and accompaniment by demucs's own loading code, with random weights."""

import numpy as np
import pytest
import torch

from musicgen_service.analysis import stems
from musicgen_service.audio.reading import Audio
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models.loading import load_separator
from musicgen_service.models.store import WeightStore
from tests.support.sounds import tone

CPU = torch.device("cpu")


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(44_100, 2, 1.5), (32_000, 1, 1.5), (8_000, 1, 0.1)])
def test_both_parts_are_as_long_as_the_song(store: WeightStore, rate: int, channels: int, seconds: float) -> None:
    song = Audio(tone(seconds, channels, rate=rate), rate)
    vocals, rest = stems.vocals_and_accompaniment(song, load_separator(store), CPU)
    for part in (vocals, rest):
        assert part.rate == 44_100 and part.samples.shape == (2, round(seconds * 44_100))
        assert np.isfinite(part.samples).all() and part.samples.dtype == np.float32


def test_every_source_is_in_one_part_and_the_melody_has_no_drums_and_bass(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = {"drums": 1.0, "bass": 10.0, "other": 100.0, "vocals": 1000.0}
    monkeypatch.setattr(
        adapter, "separate", lambda *_: {name: torch.full((2, 5), level) for name, level in levels.items()}
    )
    song, separator = Audio(tone(0.1), 32_000), load_separator(store)
    vocals, rest = stems.vocals_and_accompaniment(song, separator, CPU)
    assert (vocals.samples == 1000).all() and (rest.samples == 111).all()
    assert (stems.melodic(song, separator, CPU).samples == 1100).all()


def test_the_same_song_gives_the_same_parts(store: WeightStore) -> None:
    song, separator = Audio(tone(1, 2), 32_000), load_separator(store)
    first, second = (stems.vocals_and_accompaniment(song, separator, CPU)[0].samples for _ in range(2))
    assert np.array_equal(first, second)
