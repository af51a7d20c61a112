"""Which separated sources each stem mix contains."""

from collections.abc import Callable

import numpy as np

from musicgen_service.analysis import stems
from musicgen_service.audio.reading import Audio
from tests.support.sounds import tone

LEVELS = {"drums": 1.0, "bass": 10.0, "other": 100.0, "vocals": 1000.0}
SONG = Audio(tone(0.1), 32_000)


class LevelSeparator:
    """A separator whose sources are constants, each at its own level, as long as the song."""

    rate = 48_000

    def separate(self, samples: np.ndarray, report: Callable[[float], None]) -> dict[str, np.ndarray]:
        assert samples.shape == (2, 4800), "stereo at its own rate"
        return {name: np.full_like(samples, level) for name, level in LEVELS.items()}


def test_every_source_is_in_vocals_or_accompaniment() -> None:
    vocals, rest = stems.vocals_and_accompaniment(SONG, LevelSeparator(), lambda _share: None)
    assert (vocals.samples == 1000).all() and (rest.samples == 111).all()
    assert vocals.rate == rest.rate == 48_000


def test_melody_excludes_drums_and_bass() -> None:
    assert (stems.melodic(SONG, LevelSeparator()).samples == 1100).all()


def test_nan_from_a_separator_becomes_silence() -> None:
    class Broken(LevelSeparator):
        def separate(self, samples: np.ndarray, report: Callable[[float], None]) -> dict[str, np.ndarray]:
            return dict.fromkeys(LEVELS, np.full_like(samples, np.nan))

    assert not stems.melodic(SONG, Broken()).samples.any()
