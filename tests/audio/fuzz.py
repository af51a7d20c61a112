"""Mutated audio files against the reader: `python -m tests.audio.fuzz COUNT [SEED]`."""

import random
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from musicgen_service.audio import opening, reading
from musicgen_service.audio.reading import Audio, AudioError
from tests.support import corpus

HEADER = 200
"""Bytes at the start of a file, where changes have the most effect."""

EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")


def run(count: int, seed: int, folder: Path) -> Counter[str]:
    """Read `count` mutated files; return how many were read and how many refused.

    Any other outcome, including a crash of the process, is a bug; `folder` keeps the file.
    """
    path, outcome = folder / "mutated", Counter[str]()
    originals = sorted(corpus.good().items())
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        path.write_bytes(mutate(originals[number % len(originals)][1], rng))
        try:
            check(reading.read(path))
            outcome["read"] += 1
        except AudioError:
            outcome["refused"] += 1
    return outcome


def check(audio: Audio) -> None:
    """Check the guarantees of `reading.read`."""
    channels, samples = audio.samples.shape
    assert audio.samples.dtype == np.float32
    assert 1 <= channels <= opening.MAX_CHANNELS and 0 < samples <= opening.MAX_SECONDS * audio.rate
    assert opening.MIN_RATE <= audio.rate <= opening.MAX_RATE and audio.samples.nbytes <= opening.MAX_BYTES
    assert np.isfinite(audio.samples).all() and np.abs(audio.samples).max() <= 1


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Apply one to eight changes: flipped bits, extreme numbers, deletions, repetitions, noise, truncation."""
    mutated = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        end = len(mutated) if rng.random() < 0.4 else min(len(mutated), HEADER)
        at = rng.randrange(end) if end else 0
        length = rng.choice((1, 2, 4, 16, 256))
        match rng.randrange(6):
            case 0:
                if mutated:
                    mutated[at] ^= 1 << rng.randrange(8)
            case 1:
                extreme = rng.choice(
                    (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")
                )
                mutated[at : at + 4] = extreme
            case 2:
                del mutated[at : at + length]
            case 3:
                mutated[at:at] = mutated[at : at + length]
            case 4:
                mutated[at : at + length] = rng.randbytes(length)
            case 5 if rng.random() < 0.2:
                del mutated[at:]
    return bytes(mutated)


def main() -> None:
    """Run with the count and the seed of the command line."""
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with TemporaryDirectory() as folder:
        outcome = run(count, seed, Path(folder))
    print(f"{count} mutated files: {outcome['read']} read, {outcome['refused']} refused, seed {seed}")


if __name__ == "__main__":
    main()
