"""Notes to sound: a MIDI file of each group of players, played by fluidsynth with a General MIDI soundfont."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import NamedTuple

from demo.synth.song import Note

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 44_100
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
DRUMS = -1
"""The program of a player of drums."""
_TICKS = 5000  # a second
_DRUM_CHANNEL = 9
_BEND_RANGE = 2.0  # semitones of a full pitch bend


class Player(NamedTuple):
    """A player: program of General MIDI (0 to 127, or DRUMS), and notes with their loudness from 0 to 1."""

    program: int
    notes: Sequence[tuple[Note, float]]


def is_installed() -> bool:
    """Whether fluidsynth and its soundfont are."""
    return which("fluidsynth") is not None and SOUNDFONT.is_file()


def render(players: Sequence[Player], seconds: float, detuning: float = 0.0) -> NDArray[np.float32]:
    """Play; the result is ``[samples]`` at RATE, from the time 0 on for so many seconds.

    Parameters
    ----------
    detuning : of all but the drums, in semitones

    Raises
    ------
    subprocess.CalledProcessError
        fluidsynth failed.
    """
    if not any(player.notes for player in players):
        return np.zeros(round(seconds * RATE), np.float32)
    with TemporaryDirectory() as folder:
        score, sound = Path(folder) / "score.mid", Path(folder) / "sound.wav"
        _write(players, detuning, score)
        options = ["-n", "-i", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(RATE), "-T", "wav", "-O", "float"]
        command = ["fluidsynth", *options, "-F", str(sound), str(SOUNDFONT), str(score)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        samples, _ = soundfile.read(sound, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    wanted = round(seconds * RATE)
    return np.pad(mono[:wanted], (0, max(0, wanted - len(mono))))


def _write(players: Sequence[Player], detuning: float, path: Path) -> None:
    import mido

    track = mido.MidiTrack()
    events: list[tuple[int, int, mido.Message]] = []
    channels = iter(channel for channel in range(16) if channel != _DRUM_CHANNEL)
    for player in players:
        channel = _DRUM_CHANNEL if player.program == DRUMS else next(channels)
        if player.program != DRUMS:
            bend = round(8191 * detuning / _BEND_RANGE)
            track.append(mido.Message("program_change", channel=channel, program=player.program, time=0))
            track.append(mido.Message("pitchwheel", channel=channel, pitch=bend, time=0))
        for note, loudness in player.notes:
            on, off = round(note.start * _TICKS), round(note.end * _TICKS)
            velocity = max(1, round(127 * loudness))
            events.append((on, 1, mido.Message("note_on", channel=channel, note=note.midi, velocity=velocity)))
            events.append((max(off, on + 1), 0, mido.Message("note_off", channel=channel, note=note.midi)))
    now = 0
    # Of events at one time, ends come first: the same note may begin again.
    for at, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=at - now))
        now = at
    file = mido.MidiFile(ticks_per_beat=_TICKS)
    track.insert(0, mido.MetaMessage("set_tempo", tempo=1_000_000))
    file.tracks.append(track)
    file.save(path)
