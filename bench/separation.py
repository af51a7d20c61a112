"""How well a voice is taken out of a song, and how fast, on recordings of people.

    python -m bench.separation
    python -m bench.separation --separator htdemucs

Three people read (tests/data/real/LICENCES.txt), each over twenty backings of the same power: ten recordings without a
voice, and ten songs of demo/synth. Every reader pauses for three seconds; what is left of the band in the vocals there
is told against the band itself. Then a few of the songs are remixed with the demo checkpoint.
"""

import argparse
import os
import time
from collections.abc import Iterator

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
    _separations(separator)
    _remixes(store, device)


def _separations(separator: Separator) -> None:
    print(f"{'dB, median of the readers':27}{'voice':>7}{'backing':>9}{'left in the pause':>19}")
    by_reader: dict[str, list[tuple[float, float, float]]] = {reader: [] for reader in recordings.VOICES}
    seconds = spent = 0.0
    separator.separate(np.zeros((2, separator.rate), np.float32), lambda _share: None)
    for name, backing in _backings():
        for reader, rows in by_reader.items():
            song = _paused(reader, backing, separator.rate)
            started = time.perf_counter()
            parts = separator.separate(song.song.samples, lambda _share: None)
            spent, seconds = spent + time.perf_counter() - started, seconds + song.song.seconds
            vocals = parts["vocals"]
            rest = song.song.samples - vocals
            rows.append((si_sdr(vocals, song.voice), si_sdr(rest, song.backing), _left(vocals, song)))
        _print_row(name, [rows[-1] for rows in by_reader.values()])
    print()
    for reader, rows in by_reader.items():
        _print_row(reader, rows)
    everything = [row for rows in by_reader.values() for row in rows]
    _print_row(f"all {len(everything)}", everything)
    within = np.mean([left <= -12 for _, _, left in everything])
    print(f"\nat most -12 dB left in the pause: {within:.0%}; {seconds / spent:.1f} times real time")


def _remixes(store: WeightStore, device: torch.device) -> None:
    """Remixes from file to file: what of the voice is in their vocals, and of the old band where it was alone."""
    service = MusicGenService(store, device)
    print(f"\n{'remixed (demo), dB':27}{'voice':>7}{'old band in the pause, under the new':>38}")
    for name, reader in zip(REMIXED, recordings.VOICES, strict=True):
        song = _paused(reader, recording(name), 44_100)
        inputs = {"task": "remix", "prompt": "bossa nova", "model_version": "demo", "seed": 1, "return_stems": True}
        given = AudioInput(song.song.samples, song.rate, "song.wav", "0" * 64)
        _, backing, vocals = (
            Audio(clip.samples, clip.sample_rate) for clip in service.clips(inputs | {"input_audio": given})
        )
        voice = Audio(song.voice, song.rate).convert(vocals.rate, 1).samples
        pause = _pause(vocals.rate)
        left = level_db(vocals.samples[:, pause]) - level_db(backing.samples[:, pause])
        print(f"{name:27}{si_sdr(vocals.samples, voice):7.1f}{left:38.1f}")


def _backings() -> Iterator[tuple[str, Audio]]:
    for name in recordings.BACKINGS:
        yield name, recording(name)
    styles = list(STYLES)
    for number in range(10):
        style = styles[number % len(styles)]
        song = Synthesiser().song(FIRST_SEED + number, SECONDS, style=style)
        yield f"synthesised {style}", Audio(song.audio[None], SAMPLE_RATE)


def _paused(reader: str, backing: Audio, rate: int) -> Mix:
    song = mix(recording(reader).slice(0, SECONDS), backing, rate)
    first, last = (round(seconds * rate) for seconds in PAUSE)
    song.voice[:, first:last] = 0
    return song


def _pause(rate: int) -> slice:
    return slice(round((PAUSE[0] + EDGE) * rate), round((PAUSE[1] - EDGE) * rate))


def _left(vocals: np.ndarray, song: Mix) -> float:
    """Level of the vocals in the pause, against the band's there, in dB."""
    pause = _pause(song.rate)
    return level_db(vocals[:, pause]) - level_db(song.backing[:, pause])


def _print_row(name: str, rows: list[tuple[float, float, float]]) -> None:
    voice, backing, left = np.median(np.array(rows), axis=0)
    print(f"{name:27}{voice:7.1f}{backing:9.1f}{max(left, -99):19.1f}")


if __name__ == "__main__":
    main()
