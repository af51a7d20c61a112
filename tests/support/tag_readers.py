"""Readers of tags and chunks, written from the published layouts alone: nothing of what writes them is used.

Sources: Multimedia Programming Interface and Data Specifications 1.0 and its update of 1994 (RIFF, `smpl`); the layout
of `acid` that programs agree on; ID3v2.4 (id3.org); RFC 9639 (flac); RFC 3533 and the Vorbis I specification (ogg).
"""

import struct
from pathlib import Path
from typing import NamedTuple

from musicgen_service.audio import ffmpeg


class Acid(NamedTuple):
    """An `acid` chunk."""

    flags: int
    root: int
    beats: int
    denominator: int
    numerator: int
    tempo: float


class Loop(NamedTuple):
    """A `smpl` chunk with one loop; `end` is the last sample that is played."""

    period: int
    unity_note: int
    kind: int
    start: int
    end: int
    plays: int


def chunks(path: Path) -> dict[str, bytes]:
    """Walk the chunks of a wav file, which must fill it exactly."""
    content = path.read_bytes()
    magic, size, form = struct.unpack_from("<4sI4s", content)
    assert (magic, form) == (b"RIFF", b"WAVE") and size == len(content) - 8
    found, place = {}, 12
    while place < len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        found[name.decode("ascii")] = content[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
    assert place == len(content), "chunks begin at even places, and the last one ends with the file"
    return found


def acid(path: Path) -> Acid:
    """The `acid` chunk of a wav file."""
    content = chunks(path)["acid"]
    assert len(content) == 24
    flags, root, constant, zero, *rest = struct.unpack("<IHHfIHHf", content)
    assert (constant, zero) == (0x8000, 0.0)
    return Acid(flags, root, *rest)


def smpl(path: Path) -> Loop:
    """The `smpl` chunk of a wav file, which has one loop."""
    content = chunks(path)["smpl"]
    _maker, _product, period, unity_note, *rest = struct.unpack_from("<9I", content)
    assert rest == [0, 0, 0, 1, 0] and len(content) == 36 + 24
    _cue, kind, start, end, fraction, plays = struct.unpack_from("<6I", content, 36)
    assert fraction == 0
    return Loop(period, unity_note, kind, start, end, plays)


def id3(path: Path) -> dict[str, str]:
    """The text frames of an ID3v2.4 tag."""
    content = path.read_bytes()
    assert content[:5] == b"ID3\x04\x00"
    end, place, found = 10 + _synchsafe(content[6:10]), 10, {}
    while place < end and content[place]:
        name, length = content[place : place + 4].decode("ascii"), _synchsafe(content[place + 4 : place + 8])
        if name.startswith("T") and name != "TXXX":
            encoding, text = content[place + 10], content[place + 11 : place + 10 + length]
            found[name] = text.decode(("latin-1", "utf-16", "utf-16-be", "utf-8")[encoding]).rstrip("\0")
        place += 10 + length
    return found


def vorbis_comments(path: Path) -> dict[str, str]:
    """The comments of a flac or ogg file."""
    content = path.read_bytes()
    packet = _flac_block(content, 4) if content.startswith(b"fLaC") else _ogg_packet(content, 1)[7:]
    place = 4 + _length(packet, 0)
    found = {}
    for _ in range(_length(packet, place)):
        place += 4
        length = _length(packet, place)
        name, _, value = packet[place + 4 : place + 4 + length].decode().partition("=")
        found[name.upper()] = value  # in either case
        place += length
    assert packet[place + 4 :] in (b"", b"\x01"), "nothing but the framing bit follows"
    return found


def by_ffmpeg(path: Path) -> dict[str, str]:
    """The tags that ffmpeg reads, by lower-case name; those of several lines are left out."""
    whose = ["-map_metadata", "0:s:0"] if path.suffix == ".ogg" else []  # a stream's, and no file's
    text = ffmpeg.run(["-i", str(path.resolve()), *whose, "-f", "ffmetadata", "pipe:1"]).decode()
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.lower(): value.replace("\\", "") for name, _, value in pairs}  # which escapes signs


def _synchsafe(content: bytes) -> int:
    return int(sum(byte << 7 * (3 - place) for place, byte in enumerate(content)))


def _length(content: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", content, place)[0])


def _flac_block(content: bytes, kind: int) -> bytes:
    place = 4
    while content[place] & 0x7F != kind:
        place += 4 + int.from_bytes(content[place + 1 : place + 4], "big")
    return content[place + 4 : place + 4 + int.from_bytes(content[place + 1 : place + 4], "big")]


def _ogg_packet(content: bytes, wanted: int) -> bytes:
    """One of the first packets; those that cross pages are joined."""
    packets, place = [b""], 0
    while len(packets) <= wanted + 1:
        assert content[place : place + 4] == b"OggS"
        lengths = content[place + 27 : place + 27 + content[place + 26]]
        place += 27 + len(lengths)
        for length in lengths:
            packets[-1] += content[place : place + length]
            place += length
            if length < 255:
                packets.append(b"")
    return packets[wanted]
