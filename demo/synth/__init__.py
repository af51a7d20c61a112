"""Labelled music on demand: seeded songs with exact beats, chords, key, melody and stems."""

from demo.synth.seeds import HELD_BACK
from demo.synth.song import Note, Song
from demo.synth.synthesiser import FRAME, Synthesiser
from demo.synth.timbres import SAMPLE_RATE

__all__ = ["FRAME", "HELD_BACK", "SAMPLE_RATE", "Note", "Song", "Synthesiser"]
