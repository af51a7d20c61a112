"""Chords as musicians write them: each is read as it was printed."""

import pytest

from musicgen_service.analysis.chord_labels import LABELS, parse, pitch_classes
from musicgen_service.analysis.chord_symbols import read, symbol


def with_every_bass(label: str) -> list[str]:
    chord = parse(label)
    return [chord._replace(bass=bass).label for bass in range(12)] if chord else [label]


def test_every_chord_with_every_bass_is_read_as_it_is_printed() -> None:
    labels = [spelled for label in LABELS for spelled in with_every_bass(label)]
    assert [read(symbol(label)) for label in labels] == labels
    assert [read(label) for label in labels] == labels
    assert len({symbol(label) for label in labels}) == len(labels)


def test_symbols_are_those_of_musicians() -> None:
    labels = ("C:maj", "Bb:hdim7", "F#:min7", "Bb:maj/3", "N")
    assert [symbol(label) for label in labels] == ["C", "Bbm7b5", "F#m7", "Bb/D", "N.C."]


@pytest.mark.parametrize("label", ["C:maj/2", "C:maj/b7"])
def test_a_bass_sounds_with_the_chord(label: str) -> None:
    assert pitch_classes(label).sum() == 4 and not (pitch_classes("C:maj") & ~pitch_classes(label)).any()
