"""Remixes and loops of recordings of people: aligned, balanced, not clipped, and from kick to kick.

    python -m bench.mixed_recordings

A reader (tests/data/real/LICENCES.txt) speaks over each of the recordings without a voice, and the song is remixed by
the demo. Of the new backing it is measured how far its downbeats are from those of the song, as they are heard in each,
where the service aligns them, how much louder or softer the backing is than what it replaces, and the highest peak.
Then a loop is cut from each recording that has a clear beat, at the tempo that is heard, and where its first kick is.
"""

import argparse
from itertools import cycle

from bench import machine
from musicgen_service.analysis import kicks, stems
from musicgen_service.analysis.beats import BeatGrid, BeatTracker
from musicgen_service.analysis.stems import Separator
from musicgen_service.audio.lufs import integrated_loudness
from musicgen_service.audio.reading import Audio, AudioInput
from musicgen_service.finished_clip import FinishedClip
from musicgen_service.models import beat_tracking, separators
from musicgen_service.models.catalogue import SPLEETER
from musicgen_service.models.store import WeightStore
from musicgen_service.notes import collected
from musicgen_service.paths import grid
from musicgen_service.paths.alignment import bar_lines, on_kicks
from musicgen_service.paths.takes import CONTEXT, Take
from musicgen_service.service import MusicGenService
from tests.support import recordings
from tests.support.recordings import mix, recording

import numpy as np
import torch

SECONDS = 12.0
ALIGNED = 0.03
ON_KICK = 0.02
LEAST_CONFIDENCE = 0.3
"""Confidence from which a beat is called clear."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    device = torch.device("cpu")
    store = WeightStore.from_environment()
    track = beat_tracking.choose(store)
    print(f"the demo checkpoint; {machine.describe(device)}\n")
    _remixes(MusicGenService(store, device), track, separators.load(SPLEETER, store, device))
    _loops(track)


def _remixes(service: MusicGenService, track: BeatTracker, separator: Separator) -> None:
    print(f"{'remixed':34}{'song':>16}{'downbeats within 30 ms':>24}{'balance':>9}{'peak':>8}")
    within: list[bool] = []
    heard: list[bool] = []
    balances, peaks = [], []
    for reader, name in zip(cycle(recordings.READERS), recordings.BACKINGS, strict=False):
        song = mix(recording(reader).slice(0, SECONDS), recording(name)).song
        given = AudioInput(song.samples, song.rate, "song.wav", "0" * 64)
        inputs = {"task": "remix", "prompt": "bossa nova with drums", "model_version": "demo", "seed": 1}
        with collected(quiet=True) as noted:
            whole, backing, vocals = service.clips(inputs | {"return_stems": True, "input_audio": given})
        of_song = track(song.mono, song.rate, None)
        is_aligned = not any("not aligned" in sentence for sentence in noted)
        of_backing = track(backing.samples, backing.sample_rate, of_song.tempo)
        found = _distances(of_backing, of_song, backing)
        near = found <= ALIGNED
        parts = stems.vocals_and_accompaniment(song, separator, lambda _share: None)
        levels = [integrated_loudness(part.samples, part.rate) for part in parts]
        own = [integrated_loudness(part.samples, part.sample_rate) for part in (vocals, backing)]
        # By how much the backing is louder against the voice than what it replaces was.
        balances.append((own[1] - own[0]) - (levels[1] - levels[0]))
        peaks.append(max(float(np.abs(part.samples).max()) for part in (whole, backing, vocals)))
        aligned = "not aligned"
        if is_aligned:
            has_beat = len(of_backing.beats) > 0
            within += near.tolist()
            heard += [has_beat] * len(near)
            aligned = f"{near.sum() if has_beat else 'no beat,'} of {len(near)}"
        read = f"{of_song.tempo:.0f} bpm ({of_song.confidence:.2f})"
        print(f"{name + ', ' + reader:34}{read:>16}{aligned:>24}{balances[-1]:+9.2f}{peaks[-1]:8.3f}", flush=True)
    print(
        f"\nall: {np.mean(within):.0%} of {len(within)} downbeats within 30 ms where aligned, "
        f"{np.mean(np.array(within)[heard]):.0%} of {sum(heard)} where a beat is heard in the backing;\nbalance within "
        f"{np.abs(balances).max():.2f} LU; highest peak {max(peaks):.3f}\n"
    )


def _distances(heard: BeatGrid, song: BeatGrid, backing: FinishedClip) -> np.ndarray:
    """Distance of each of the song's downbeats from the nearest of the backing's, in seconds.

    The backing's bars are counted in the song's beats, and begin on the kicks that are played there; where no beats are
    heard in it, all distances are infinite.
    """
    if not len(heard.beats):
        return np.full(len(song.downbeats), np.inf)
    lines = bar_lines(heard, 60 * song.beats_per_bar / song.tempo)
    lines = on_kicks(lines, kicks.beginnings(backing.samples, backing.sample_rate))
    distances: np.ndarray = np.abs(song.downbeats[:, None] - lines).min(axis=1)
    return distances


def _loops(track: BeatTracker) -> None:
    print(f"{'loop of':34}{'tempo':>16}{'beats':>8}{'first kick':>14}")
    on_kick = []
    for name in (*recordings.BACKINGS, "fishin"):
        # Played twice, so that a loop that begins on its second bar fits.
        once = recording(name).convert(32_000, 1)
        sound = Audio(np.tile(once.samples, 2), once.rate)
        heard = track(sound.samples, sound.rate, None)
        cuts = grid.cuts(heard, heard.tempo, 8.0, sound.seconds - CONTEXT) if len(heard.beats) else []
        found = kicks.beginnings(sound.samples, sound.rate)
        has_kick = any(np.abs(found - cut.start).min(initial=9) <= grid.KICK_REACH for cut in cuts)
        if heard.confidence < LEAST_CONFIDENCE or not has_kick:
            print(f"{name:34}{'no clear beat' if not has_kick or not cuts else 'unclear':>16}")
            continue
        [cut, *_] = grid.on_kicks(cuts, found, sound.seconds - CONTEXT) or cuts
        take = Take.of(sound.samples, sound.rate, heard.tempo, cut)
        twice = np.concatenate([take.loop, take.loop], axis=1)
        offsets = kicks.beginnings(twice, sound.rate) - take.loop.shape[1] / sound.rate
        first = float(offsets[np.abs(offsets).argmin()])
        on_kick.append(abs(first) <= ON_KICK)
        print(f"{name:34}{heard.tempo:12.1f} bpm{cut.beats:8}{1000 * first:+11.0f} ms")
    print(f"\na kick within 20 ms of the beginning: {np.mean(on_kick):.0%} of {len(on_kick)}")


if __name__ == "__main__":
    main()
