"""The tempo of a caption, read and changed."""

import pytest

from demo.synth import Synthesiser
from demo.synth.captions import read_tempo, with_tempo, without_tempo


@pytest.mark.parametrize("seed", range(8))
def test_the_tempo_of_a_song_is_read_from_its_caption(seed: int) -> None:
    song = Synthesiser().song(seed, 1.0, bpm=92.5 if seed % 2 else None)
    assert read_tempo(song.caption) == song.bpm
    assert read_tempo(with_tempo(song.caption, 101)) == 101
    assert read_tempo(without_tempo(song.caption)) is None


def test_caption_is_valid_without_its_tempo() -> None:
    assert without_tempo("90 bpm, lofi piano, a minor") == "lofi piano, a minor"
    assert without_tempo("lofi piano, 90 bpm, a minor") == "lofi piano, a minor"
    assert without_tempo("lofi piano, 90 bpm") == "lofi piano"
    assert without_tempo("lofi piano") == with_tempo("lofi piano", 90) == "lofi piano"
    assert read_tempo("lofi piano") is None
