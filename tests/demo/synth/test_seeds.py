"""Songs for evaluation are never used for training."""

from demo import metre_recordings
from demo.synth import seeds
from demo.training.recipe import FULL
from demo.training.train_codec import BATCH


def test_ranges_of_seeds_do_not_overlap() -> None:
    ranges = [
        (seeds.CODEC, FULL.codec_steps * BATCH),
        (seeds.QUANTISER, FULL.quantiser_clips),
        (seeds.LANGUAGE_MODEL, FULL.shards * FULL.shard_songs),
        (seeds.DRUMS_ALONE, FULL.shards * FULL.shard_songs),
        (seeds.BEAT_TRACKER, max(metre_recordings.SONGS, metre_recordings.GROOVES)),
    ]
    ends = [first + count for first, count in ranges]
    assert all(end <= first for end, (first, _) in zip(ends, [*ranges[1:], (seeds.HELD_BACK, 0)], strict=True))
