"""How well a voice is taken out of a song, and how fast, on recordings of people.

    python -m bench.separation
    python -m bench.separation --separator htdemucs

Three people read (tests/data/real/LICENCES.txt) in turn over twenty backings of the same power: ten recordings without
a voice, and ten songs of demo/synth; then one sings over all of them. Where both sound, SI-SDR is measured. For three
seconds the voice pauses: what is left of the band in the vocals there is compared with the band. Then some of the songs
are remixed with the demo.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from itertools import cycle

from bench import machine
from demo.synth import HELD_BACK, SAMPLE_RATE, Synthesiser
from demo.synth.styles import STYLES
from musicgen_service.analysis.stems import Separator
from musicgen_service.audio.reading import Audio, AudioInput
from musicgen_service.models import separators
from musicgen_service.models.catalogue import HTDEMUCS, SPLEETER
from musicgen_service.models.store import WeightStore
from musicgen_service.service import MusicGenService
from tests.support import recordings
from tests.support.recordings import Mix, level_db, mix, recording, si_sdr

import numpy as np
import torch

SECONDS = 12.0
PAUSE = (5.0, 8.0)
EDGE = 0.25
"""Seconds at either end of a pause that are not looked at: windows reach into them."""
FIRST_SEED = HELD_BACK + 41_000_000
REMIXED = ("loop_compus", "loop_safari", "sugarplum")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--separator", choices=(SPLEETER, HTDEMUCS), default=SPLEETER)
    options = parser.parse_args()
    os.environ["MUSICGEN_SEPARATOR"] = options.separator
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    store = WeightStore.from_environment()
    if separators.choose(store) is None:
        parser.exit(1, f"needs {separators.missing()}\n")
    separator = separators.load(options.separator, store, device)
    print(f"{options.separator}; {machine.describe(device)}\n")
    separator.separate(np.zeros((2, separator.rate), np.float32), lambda _share: None)
    for voices in (recordings.READERS, recordings.SINGERS):
        _separations(separator, voices)
    _remixes(store, device)


def _separations(separator: Separator, voices: Sequence[str]) -> None:
    print(f"{'dB':45}{'voice':>7}{'backing':>9}{'left in the pause':>19}")
    by_voice: dict[str, list[tuple[float, float, float]]] = {voice: [] for voice in voices}
    seconds = spent = 0.0
    for singer, (name, backing) in zip(cycle(voices), _backings(), strict=False):
        song = _paused(singer, backing, separator.rate)
        started = time.perf_counter()
        parts = separator.separate(song.song.samples, lambda _share: None)
        spent, seconds = spent + time.perf_counter() - started, seconds + song.song.seconds
        vocals = parts["vocals"]
        voice = si_sdr(_outside_pause(vocals, song.rate), _outside_pause(song.voice, song.rate))
        rest = _outside_pause(song.song.samples - vocals, song.rate)
        backing_heard = si_sdr(rest, _outside_pause(song.backing, song.rate))
        by_voice[singer].append((voice, backing_heard, _left(vocals, song)))
        _print_row(f"{name}, {singer}", by_voice[singer][-1:])
    print("\nmedians")
    for singer, rows in by_voice.items():
        _print_row(singer, rows)
    everything = [row for rows in by_voice.values() for row in rows]
    _print_row(f"all {len(everything)}", everything)
    within = np.mean([left <= -12 for _, _, left in everything])
    print(f"\nat most -12 dB left in the pause: {within:.0%}; {seconds / spent:.1f} times real time\n")


def _remixes(store: WeightStore, device: torch.device) -> None:
    """Remixes from file to file: what of the voice is in their vocals, and of the old band where it was alone."""
    service = MusicGenService(store, device)
    print(f"{'remixed with the demo, dB':45}{'voice':>7}{'old band in the pause, under the new':>38}")
    for name, reader in zip(REMIXED, recordings.READERS, strict=True):
        song = _paused(reader, recording(name), 44_100)
        inputs = {"task": "remix", "prompt": "bossa nova", "model_version": "demo", "seed": 1, "return_stems": True}
        given = AudioInput(song.song.samples, song.rate, "song.wav", "0" * 64)
        _, backing, vocals = (
            Audio(clip.samples, clip.sample_rate) for clip in service.clips(inputs | {"input_audio": given})
        )
        rate, pause = vocals.rate, _pause(vocals.rate)
        true = _outside_pause(Audio(song.voice, song.rate).convert(rate, 1).samples, rate)
        voice = si_sdr(_outside_pause(vocals.samples, rate), true)
        left = level_db(vocals.samples[:, pause]) - level_db(backing.samples[:, pause])
        print(f"{name + ', ' + reader:45}{voice:7.1f}{left:38.1f}")


def _backings() -> Iterator[tuple[str, Audio]]:
    for name in recordings.BACKINGS:
        yield name, recording(name)
    styles = list(STYLES)
    for number in range(10):
        style = styles[number % len(styles)]
        song = Synthesiser().song(FIRST_SEED + number, SECONDS, style=style)
        yield f"synthesised {style}", Audio(song.audio[None], SAMPLE_RATE)


def _paused(voice: str, backing: Audio, rate: int) -> Mix:
    song = mix(recording(voice).slice(0, SECONDS), backing, rate)
    first, last = (round(seconds * rate) for seconds in PAUSE)
    song.voice[:, first:last] = 0
    return song


def _pause(rate: int) -> slice:
    return slice(round((PAUSE[0] + EDGE) * rate), round((PAUSE[1] - EDGE) * rate))


def _outside_pause(samples: np.ndarray, rate: int) -> np.ndarray:
    first, last = (round(seconds * rate) for seconds in PAUSE)
    return np.delete(samples, np.s_[first:last], axis=1)


def _left(vocals: np.ndarray, song: Mix) -> float:
    """Level of the vocals in the pause, against the band's there, in dB."""
    pause = _pause(song.rate)
    return level_db(vocals[:, pause]) - level_db(song.backing[:, pause])


def _print_row(name: str, rows: list[tuple[float, float, float]]) -> None:
    voice, backing, left = np.median(np.array(rows), axis=0)
    print(f"{name:45}{voice:7.1f}{backing:9.1f}{max(left, -99):19.1f}")


if __name__ == "__main__":
    main()
