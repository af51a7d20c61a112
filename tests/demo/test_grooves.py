"""Grooves: rhythms that are drawn, and what is known of them."""

import numpy as np
import pytest

from bench.rendered import midi
from demo import grooves, rhythms
from demo.rhythms import METRES, Metre


@pytest.mark.parametrize("metre", METRES, ids=lambda metre: metre.name)
def test_bars_begin_with_their_strongest_place(metre: Metre) -> None:
    strengths = rhythms.strengths(metre, np.random.default_rng(1))
    assert len(strengths) == metre.beats * metre.steps
    assert strengths.argmax() == 0 and (strengths == strengths.max()).sum() == 1
    assert (strengths[:: metre.steps] > np.delete(strengths, np.s_[:: metre.steps]).max()).all()


def test_strong_places_are_hit_more_often() -> None:
    strengths = rhythms.strengths(METRES[0], np.random.default_rng(1))
    random = np.random.default_rng(2)
    hits = np.mean([rhythms.drawn(strengths, 1, 2.0, 2.0, random) for _ in range(200)], axis=0)
    assert hits[0] > hits[4] > hits[2] > hits[1]


@pytest.mark.parametrize("metre", METRES, ids=lambda metre: metre.name)
@pytest.mark.parametrize("tempo", [50.0, 120.0, 230.0])
def test_parts_fill_their_bars(metre: Metre, tempo: float) -> None:
    random, total = np.random.default_rng(3), 4 * metre.beats
    for _ in range(10):
        hits = rhythms.drums(metre, tempo, 4, random)
        assert hits and all(0 <= hit.start < total and 0 < hit.loudness <= 1 for hit in hits)
        for spans in (rhythms.line(metre, tempo, 4, random, [0.0]), rhythms.melody(metre, tempo, 4, random)):
            starts = [start for start, _ in spans]
            assert starts == sorted(set(starts)) and all(0 <= start < end for start, end in spans)


@pytest.mark.skipif(not midi.is_installed(), reason="needs fluidsynth and its soundfont")
def test_a_number_makes_one_groove_whose_beats_are_in_it() -> None:
    first, again = grooves.groove(5), grooves.groove(5)
    assert np.array_equal(first.samples, again.samples)
    assert np.isin(first.downbeats, first.beats).all()
    assert first.beats[0] >= 0 and first.beats[-1] < len(first.samples) / midi.RATE
