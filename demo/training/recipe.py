"""Amounts of data and training: the full recipe, and a quick one that tests the pipeline."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Amounts of data and training.

    Attributes
    ----------
    quantiser_clips : 6 s clips used to fit the quantiser
    codec_steps, language_model_steps : optimiser steps
    shards, shard_songs : shards of songs for the language model, and 10 s songs in each
    report_every, checkpoint_every : steps between lines of progress, and between checkpoints
    evaluated_songs : held-back songs for the evaluation at each checkpoint
    """

    quantiser_clips: int = 900
    codec_steps: int = 6100
    language_model_steps: int = 18500
    shards: int = 250
    shard_songs: int = 50
    report_every: int = 50
    checkpoint_every: int = 200
    evaluated_songs: int = 24


FULL = Recipe()
"""As many steps as the shipped weights took in all. With 250 shards, the last is first used after 9,520 steps, and a
song is used six times on average."""
QUICK = Recipe(
    quantiser_clips=60,
    codec_steps=30,
    language_model_steps=40,
    shards=4,
    report_every=10,
    checkpoint_every=20,
    evaluated_songs=6,
)
"""Takes minutes and yields no music: tests that every stage works."""
