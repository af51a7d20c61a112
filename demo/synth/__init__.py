"""Labelled music on demand: seeded songs with exact beats, chords, key, melody and stems."""

from demo.synth.song import Note, Song
from demo.synth.synthesiser import Synthesiser
from demo.synth.timbres import SAMPLE_RATE

__all__ = ["SAMPLE_RATE", "Note", "Song", "Synthesiser"]
