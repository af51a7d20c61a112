"""Which seeds are for what, so that no song is both trained on and measured with."""

CODEC = 0
QUANTISER = 10_000_000
LANGUAGE_MODEL = 100_000_000
DRUMS_ALONE = 150_000_000
"""The language model's songs of which only the drums are used."""
BEAT_TRACKER = 300_000_000
HELD_BACK = 900_000_000
"""Seeds from here on are for measuring only: nothing is ever trained on them, or fitted to them."""
