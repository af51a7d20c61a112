"""The pieces of music21's corpus that are played, by composer or collection.

Left out are those whose encoders reserve rights: Palestrina and the Essen collection.
"""

from functools import cache
from typing import Any
from unittest.mock import patch

from bench.rendered.clip import HELD_BACK, TRAINING
from bench.rendered.score import Score, from_stream

import numpy as np

POLYPHONIC = {
    TRAINING: {"Bach": "bach", "Haydn": "haydn", "Joplin": "joplin"},
    HELD_BACK: {
        "Mozart": "mozart",
        "Monteverdi": "monteverdi",
        "C. Schumann": "schumann_clara",
        "Corelli": "corelli",
        "Schubert": "schubert",
    },
}
"""Several voices, whose sound is the chords."""
TUNES = {
    TRAINING: {"Ryan's Mammoth Collection": "ryansMammoth", "Aird's Selection": "airdsAirs"},
    HELD_BACK: {"O'Neill's Music of Ireland": "oneills1850", "American fife music": "miscFolk/americanfife"},
}
"""Single melodies, to which an accompaniment is written here."""
LEAD_SHEETS = {
    TRAINING: {"Berlin": "leadSheet/berlin"},
    HELD_BACK: {"Foster": "leadSheet/foster", "Nottingham collection": "nottingham-dataset"},
}
"""Melodies with chord symbols by other hands."""
_UNREADABLE = (".rntxt", ".mus", "__")


@cache
def paths(folder: str) -> list[Any]:
    """The files of one composer, in a fixed order."""
    from music21.corpus import corpora

    top, _, beginning = folder.partition("/")
    found = [path for path in corpora.CoreCorpus().getPaths() if f"/corpus/{top}/" in path.as_posix()]
    found = [path for path in found if not path.name.endswith(_UNREADABLE) and path.name.startswith(beginning)]
    return sorted(found, key=lambda path: path.as_posix())


def read(folder: str, composer: str, random: np.random.Generator) -> Score | None:
    """Read a random piece of a composer; None where its notation cannot be used."""
    from music21 import exceptions21

    files = paths(folder)
    path = files[int(random.integers(len(files)))]
    try:
        pieces = _open(path.as_posix())
        piece = pieces[int(random.integers(len(pieces)))]
        return from_stream(piece, composer, str((piece.metadata and piece.metadata.title) or path.stem))
    except exceptions21.Music21Exception:
        return None


@cache
def _open(path: str) -> list[Any]:
    from music21 import converter

    # How notes are engraved does not sound, and takes a third of the time.
    with patch("music21.stream.base.Stream.makeBeams", lambda stream, *_, **__: stream):
        opened = converter.parse(path)
    return list(opened.scores) if "Opus" in opened.classes else [opened]
