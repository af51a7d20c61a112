"""How much of a trait is heard in a song."""

import numpy as np
import pytest

from bench import adapter_songs
from bench.adapter_songs import Style
from demo.synth import SAMPLE_RATE

STYLES = {style.name: style for style in adapter_songs.STYLES}
SECONDS = 10
BETWEEN_EIGHTHS = {"drums and chords": "hits (F-measure)", "bass figure": "low notes (F-measure)"}


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_a_trait_is_heard_between_the_eighths_of_the_songs_that_have_it_only(style: Style) -> None:
    measure = adapter_songs.measures(style)[BETWEEN_EIGHTHS[style.name]]
    samples = SECONDS * SAMPLE_RATE
    song, other = style.song(200), style.song_without_trait(200)
    assert song.bpm == other.bpm
    assert measure(song.audio[:samples], song) > 0.95
    assert measure(other.audio[:samples], song) == 0.0


def test_onsets_on_eighths_do_not_count() -> None:
    song = STYLES["bass figure"].song(0)
    step = 60 / song.bpm / 4
    bars = np.arange(int(len(song.audio) / SAMPLE_RATE / step / 16))[:, None] * 16
    played = (bars + np.array([0, 3, 6, 9])).ravel() * step
    clip = song.audio[: round(16 * len(bars) * step * SAMPLE_RATE)]
    assert adapter_songs.between_eighths(clip, song, played, (0, 3, 6, 9)) == 1.0
    assert adapter_songs.between_eighths(clip, song, played, (3, 9)) == 1.0
    assert adapter_songs.between_eighths(clip, song, played[::2], (0, 3, 6, 9)) == 0.0
    assert adapter_songs.between_eighths(clip, song, np.zeros(0), (0, 3, 6, 9)) == 0.0
