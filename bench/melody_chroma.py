"""Which chroma of a song with a band is nearer to that of its melody alone: the mix's, or the transcribed melody's.

    python -m bench.melody_chroma

The melody checkpoints follow the strongest pitch class of each frame. Where nothing takes drums and bass out of a song,
it is read from the full mix. Here the leads of songs of demo/synth are heard over their bands at several levels, and
the strongest pitch class of each frame in which the lead sounds is compared with that of the lead alone. `melody` has
the pitch class of the transcribed note, and the mix's where there is none; `both` that of the mix with the transcribed
notes played over it by sines, as loud as the mix.
"""

import argparse
from collections.abc import Sequence

from bench import machine
from demo.synth import HELD_BACK, SAMPLE_RATE, Synthesiser
from musicgen_service.analysis.transcription import Note
from musicgen_service.models import transcription
from musicgen_service.models.chroma import Chroma, ChromaOptions

import numpy as np
import torch
from numpy.typing import NDArray

SECONDS = 12.0
LEVELS = (6, 0, -6, -12)
"""Of the lead against its band, in dB."""
FIRST_SEED = HELD_BACK + 43_000_000
_WINDOW = 2**14
_OPTIONS = ChromaOptions(SAMPLE_RATE, 12, _WINDOW, strongest_only=True)

Array = NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=30)
    options = parser.parse_args()
    device = torch.device("cpu")
    print(f"{options.songs} songs; {machine.describe(device)}\n")
    chroma = Chroma(_OPTIONS, device)
    chroma.load_state_dict({"window": torch.hann_window(_WINDOW)})
    transcribe = transcription.choose()

    def strongest(sound: Array) -> NDArray[np.int64]:
        return chroma(torch.from_numpy(sound)).argmax(1).numpy()

    print(f"{'agreement with the lead alone':32}{'mix':>8}{'melody':>8}{'both':>8}")
    for level in LEVELS:
        rows = []
        for number in range(options.songs):
            song = Synthesiser().song(FIRST_SEED + number, SECONDS, lead=True)
            lead = song.stems["lead"]
            band = song.audio - lead
            mix = lead + band * np.float32(_rms(lead) / max(_rms(band), 1e-9) * 10 ** (-level / 20))
            notes = transcribe(mix, SAMPLE_RATE, lambda _share: None).melody
            played = _played(notes, len(mix))
            true, of_mix = strongest(lead), strongest(mix)
            of_melody = np.where(_pitch_classes(notes, len(true)) < 0, of_mix, _pitch_classes(notes, len(true)))
            both = strongest(mix + played * np.float32(_rms(mix) / max(_rms(played), 1e-9)))
            sounding = _pitch_classes([Note(*note, velocity=1) for note in song.melody], len(true)) >= 0
            rows.append([float((found == true)[sounding].mean()) for found in (of_mix, of_melody, both)])
        means = np.mean(rows, axis=0)
        print(f"{f'lead at {level} dB':32}" + "".join(f"{mean:8.3f}" for mean in means), flush=True)


def _rms(sound: Array) -> float:
    return float(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))


def _pitch_classes(notes: Sequence[Note], frames: int) -> NDArray[np.int64]:
    """The pitch class of the note that sounds in the middle of each frame, -1 where none does."""
    middles = np.arange(frames) * _OPTIONS.hop / SAMPLE_RATE
    classes = np.full(frames, -1)
    for note in notes:
        classes[(middles >= note.start) & (middles < note.end)] = note.midi % 12
    return classes


def _played(notes: Sequence[Note], length: int) -> Array:
    """Notes played by sines with a few harmonics."""
    sound = np.zeros(length, np.float32)
    for note in notes:
        first, last = (round(seconds * SAMPLE_RATE) for seconds in (note.start, note.end))
        time = np.arange(max(0, min(last, length) - first)) / SAMPLE_RATE
        frequency = 440 * 2 ** ((note.midi - 69) / 12)
        tones = [np.sin(2 * np.pi * frequency * number * time) / number for number in range(1, 5)]
        sound[first : first + len(time)] += np.sum(tones, axis=0)
    return sound


if __name__ == "__main__":
    main()
