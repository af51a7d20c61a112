"""Ranges of seeds by purpose, so that no song is used for both training and evaluation."""

CODEC = 0
QUANTISER = 10_000_000
LANGUAGE_MODEL = 100_000_000
DRUMS_ALONE = 150_000_000
"""Songs of the language model of which only the drums are used."""
BEAT_TRACKER = 300_000_000
HELD_BACK = 900_000_000
"""Seeds from here on are for evaluation only: nothing is trained on or fitted to them."""
