"""Chunks of wav files that tell samplers and DAWs of a loop.

`smpl` is defined in the Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft, 1991) and its
update of 1994. `acid`, Sonic Foundry's, is not published; its layout is what programs that read it agree on.
"""

import struct
from pathlib import Path

from musicgen_service.audio.music import Music, pitch_class

MIDDLE_C = 60
_ROOT_IS_SET, _STRETCHES, _FROM_MIDDLE_C = 0x02, 0x04, 0x10
"""Flags of `acid`; without the last one, roots are an octave lower."""
_BEAT_UNIT = 4
_PEAK_TIME = 4
"""Offset of the time of writing in a `PEAK` chunk."""


def add_loop(path: Path, samples: int, rate: int, music: Music) -> None:
    """Append the chunks of a loop to a complete wav file.

    Parameters
    ----------
    samples : its length; the whole file is the loop
    rate : samples per second
    music : of the loop, which has a tempo
    """
    _append(path, b"acid", _acid(music))
    _append(path, b"smpl", _smpl(samples, rate, music))


def remove_time(path: Path) -> None:
    """Set the time in the `PEAK` chunk of a wav to zero, so that the same sound always gives the same file."""
    with path.open("r+b") as file:
        place = file.read(4096).find(b"PEAK")
        file.seek(place + 8 + _PEAK_TIME)
        file.write(bytes(4))


def _acid(music: Music) -> bytes:
    flags = _STRETCHES | _FROM_MIDDLE_C | (_ROOT_IS_SET if music.key else 0)
    bars = music.beats, _BEAT_UNIT, music.beats_per_bar, music.tempo
    return struct.pack("<IHHfIHHf", flags, _root(music), 0x8000, 0.0, *bars)


def _smpl(samples: int, rate: int, music: Music) -> bytes:
    period = round(1e9 / rate)  # nanoseconds
    head = struct.pack("<9I", 0, 0, period, _root(music), 0, 0, 0, 1, 0)
    # One loop, forwards, without end; its last sample is part of it.
    return head + struct.pack("<6I", 0, 0, 0, samples - 1, 0, 0)


def _root(music: Music) -> int:
    """MIDI number of the key's tonic; middle C where no key is known."""
    return MIDDLE_C + (pitch_class(music.key) if music.key else 0)


def _append(path: Path, name: bytes, content: bytes) -> None:
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        # Chunks begin at even places.
        file.write(bytes(end % 2) + name + struct.pack("<I", len(content)) + content)
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))
