"""Keys, from chords and pitch classes."""

import numpy as np
import pytest

from musicgen_service.analysis import key
from musicgen_service.analysis.chord_labels import TRIADS, pitch_classes


def rank(*chords: str, clarity: float = 1.0) -> list[tuple[str, float]]:
    """Of chords that last equally long and sound as loud as each other."""
    shares = np.array([chords.count(label) / len(chords) for label in TRIADS])
    pitches = np.sum([pitch_classes(label).astype(float) for label in chords], axis=0)
    return key.rank(shares, chords[0], [pitches], clarity)


@pytest.mark.parametrize(
    ("chords", "name"),
    [
        (("C:maj", "F:maj", "G:maj", "C:maj"), "C major"),
        (("A:min", "F:maj", "C:maj", "G:maj"), "A minor"),
        (("D:min", "G:min", "A:maj", "D:min"), "D minor"),
    ],
)
def test_keys_follow_from_chords(chords: tuple[str, ...], name: str) -> None:
    assert rank(*chords)[0][0] == name


def test_pitch_classes_decide_between_keys_that_share_a_chord() -> None:
    shares = np.array([0.5 * (label in ("C:maj", "F:maj")) for label in TRIADS])

    def best(*classes: int) -> str:
        return key.rank(shares, None, [np.isin(np.arange(12), classes).astype(float)], 1.0)[0][0]

    assert best(0, 2, 4, 5, 7, 9, 11) == "C major"
    assert best(0, 2, 4, 5, 7, 9, 10) == "F major"


def test_a_single_voice_has_the_key_of_its_pitches() -> None:
    pitches = np.isin(np.arange(12), (2, 4, 6, 7, 9, 11, 1)) + 0.5 * np.isin(np.arange(12), (2, 6, 9))
    assert key.rank(np.zeros(24), None, [pitches], 1.0)[0][0] == "D major"


def test_where_two_hear_different_pitches_no_key_is_sure() -> None:
    scale = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11)).astype(float)
    agreed = key.rank(np.zeros(24), None, [scale, scale], 1.0)[0]
    disagreed = key.rank(np.zeros(24), None, [scale, np.roll(scale, 6)], 1.0)[0]
    assert disagreed[1] < 0.5 * agreed[1]


def test_confidences_add_up_to_how_clear_the_pitches_are() -> None:
    for clarity in (0.3, 1.0):
        confidences = [confidence for _, confidence in rank("C:maj", "F:maj", "A:min", clarity=clarity)]
        assert confidences == sorted(confidences, reverse=True)
        assert 0.9 * clarity < sum(confidences) <= clarity


def test_what_may_be_either_of_two_keys_is_in_neither_for_sure() -> None:
    sure, unsure = (rank(*loop.split())[0][1] for loop in ("C:maj F:maj G:maj C:maj", "A:min F:maj C:maj G:maj"))
    assert unsure < 0.7 < sure


def test_no_key_is_named_where_no_pitches_are_heard() -> None:
    assert rank("C:maj", clarity=0.0) == []
