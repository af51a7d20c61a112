"""Files whose headers give no length or a wrong one: streamed, joined and truncated files."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from musicgen_service.audio import ffmpeg
from tests.support import corpus
from tests.support.sounds import tone

SECONDS = 1.5
SOURCES = {"mono": (1, 44_100), "other": (1, 44_100), "slow": (1, 22_050), "stereo": (2, 48_000), "phone": (1, 8_000)}
"""Channels and sample rate of the recordings."""


class Workshop:
    """A folder with recordings, and functions that make files from them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, ...], bytes] = {}
        for name, (channels, rate) in SOURCES.items():
            sound = tone(SECONDS, channels, rate).T
            soundfile.write(folder / f"{name}.wav", -sound if name == "other" else sound, rate)

    def source(self, name: str) -> bytes:
        """One of the recordings, as a wav file."""
        return (self._folder / f"{name}.wav").read_bytes()

    def made(self, source: str, suffix: str, *options: str) -> bytes:
        """A recording as ffmpeg writes it to a file."""
        key = (source, suffix, *options)
        if key not in self._made:
            target = self._folder / f"made.{suffix}"
            ffmpeg.run(["-y", "-i", str(self._folder / f"{source}.wav"), *options, "-strict", "-2", str(target)])
            self._made[key] = target.read_bytes()
        return self._made[key]

    def streamed(self, source: str, container: str, *options: str) -> bytes:
        """A recording as ffmpeg writes it to a pipe, where it cannot go back to correct the header."""
        return ffmpeg.run(["-i", str(self._folder / f"{source}.wav"), *options, "-f", container, "pipe:1"])


def by_ffmpeg(path: Path) -> float:
    """Seconds of audio that ffmpeg decodes from a file."""
    return (
        len(ffmpeg.run(["-i", str(path), "-map", "0:a:0", "-ac", "1", "-ar", "8000", "-f", "s16le", "pipe:1"])) / 16_000
    )


def sized(content: bytes, data: int, riff: int | None = None) -> bytes:
    """A wav file whose header counts so many bytes of samples."""
    start = content.index(b"data")
    content = content[: start + 4] + struct.pack("<I", data) + content[start + 8 :]
    return content if riff is None else content[:4] + struct.pack("<I", riff) + content[8:]


def without_size(aiff: bytes, claimed: int) -> bytes:
    """An aiff file that says it has no frames, and whose samples take `claimed` bytes."""
    common, samples = aiff.index(b"COMM"), aiff.index(b"SSND")
    aiff = aiff[: common + 10] + bytes(4) + aiff[common + 14 :]
    return aiff[: samples + 4] + struct.pack(">I", claimed) + aiff[samples + 8 :]


def cut(content: bytes) -> bytes:
    return content[: len(content) * 6 // 10]


def tagged(content: bytes, size: int, footer: bool = False) -> bytes:
    """A file after an ID3 tag with a picture of that size."""
    frame = b"APIC" + struct.pack(">I", size) + b"\0\0" + b"\xff\xd8\xff" + bytes(size - 3)
    length = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    end = b"3DI\4\0\x10" + length if footer else b""
    return b"ID3\4\0" + (b"\x10" if footer else b"\0") + length + frame + end + content


JUNK = np.random.default_rng(0).bytes(3000)
VORBIS, OPUS = ("-c:a", "libvorbis"), ("-c:a", "libopus")
NO_XING = ("-write_xing", "0", "-q:a", "5")
FRAGMENTED = ("-movflags", "frag_keyframe+empty_moov", "-c:a", "aac")

KINDS: dict[str, Callable[[Workshop], bytes]] = {
    "mp3": lambda w: w.made("mono", "mp3"),
    "mp3, variable rate, no Xing header": lambda w: w.made("mono", "mp3", *NO_XING),
    "mp3 at 8 kHz": lambda w: w.made("phone", "mp3"),
    "mp3, streamed": lambda w: w.streamed("mono", "mp3"),
    "mp3, joined": lambda w: w.made("mono", "mp3") + w.made("other", "mp3"),
    "mp3, joined, other rate": lambda w: w.made("mono", "mp3") + w.made("slow", "mp3"),
    "mp3, joined, other channels": lambda w: w.made("mono", "mp3") + w.made("stereo", "mp3"),
    "mp3, cut off": lambda w: cut(w.made("mono", "mp3")),
    "mp3, junk behind": lambda w: w.made("mono", "mp3") + JUNK,
    "mp3, junk before": lambda w: JUNK + w.made("mono", "mp3", *NO_XING),
    "mp3, zeros before": lambda w: bytes(5000) + w.made("mono", "mp3", *NO_XING),
    "mp3, big picture": lambda w: tagged(w.made("mono", "mp3"), 1_500_000),
    "mp3, two tags": lambda w: tagged(tagged(w.made("mono", "mp3"), 5000), 900, footer=True),
    "mp3 in wav": lambda w: w.made("mono", "wav", "-c:a", "libmp3lame"),
    "flac": lambda w: w.made("mono", "flac"),
    "flac, streamed": lambda w: w.streamed("mono", "flac"),
    "flac, joined": lambda w: w.made("mono", "flac") + w.made("other", "flac"),
    "flac, streamed and joined": lambda w: w.streamed("mono", "flac") * 2,
    "flac, joined, other rate": lambda w: w.made("mono", "flac") + w.made("slow", "flac"),
    "flac, junk behind": lambda w: w.made("mono", "flac") + JUNK,
    "flac behind a tag": lambda w: tagged(w.made("mono", "flac"), 5000),
    "vorbis": lambda w: w.made("mono", "ogg", *VORBIS),
    "vorbis, chained": lambda w: w.made("mono", "ogg", *VORBIS) + w.made("other", "ogg", *VORBIS),
    "vorbis, cut off": lambda w: cut(w.made("mono", "ogg", *VORBIS, "-page_duration", "100000")),
    "vorbis, streamed": lambda w: w.streamed("mono", "ogg", *VORBIS),
    "vorbis behind a tag": lambda w: tagged(w.made("mono", "ogg", *VORBIS), 5000),
    "opus": lambda w: w.made("mono", "opus"),
    "opus, chained": lambda w: w.made("mono", "opus") + w.made("other", "opus"),
    "opus, junk behind": lambda w: w.made("mono", "opus") + JUNK,
    "flac in ogg": lambda w: w.made("mono", "oga", "-c:a", "flac"),
    "flac in ogg, chained": lambda w: w.made("mono", "oga", "-c:a", "flac") * 2,
    "wav, streamed": lambda w: w.streamed("mono", "wav"),
    "wav, no data counted": lambda w: sized(w.source("mono"), 0),
    "wav, nothing counted": lambda w: sized(w.source("mono"), 0, 0),
    "wav, 4 GiB counted": lambda w: sized(w.source("mono"), 2**32 - 1, 2**32 - 1),
    "wav, 2 GiB counted": lambda w: sized(w.source("mono"), 2**31 - 1),
    "wav, no data counted, chunk behind": lambda w: sized(w.source("mono"), 0) + b"LIST\4\0\0\0INFO",
    "wav, joined": lambda w: w.source("mono") + w.source("other"),
    "wav, cut off": lambda w: cut(w.source("mono")),
    "wav, junk behind": lambda w: w.source("mono") + JUNK,
    "w64": lambda w: w.made("stereo", "w64"),
    "rf64": lambda w: w.made("stereo", "wav", "-rf64", "always"),
    "aiff": lambda w: w.made("mono", "aiff"),
    "aiff, no frames counted": lambda w: without_size(w.made("mono", "aiff"), round(SECONDS * 44_100) * 2 + 8),
    "adts": lambda w: w.made("mono", "aac"),
    "adts, joined": lambda w: w.made("mono", "aac") + w.made("other", "aac"),
    "m4a": lambda w: w.made("mono", "m4a"),
    "m4a, fragmented": lambda w: w.streamed("mono", "mp4", *FRAGMENTED),
    "m4a, cut off": lambda w: cut(w.made("mono", "m4a", "-movflags", "+faststart")),
    "alac": lambda w: w.made("mono", "m4a", "-c:a", "alac"),
    "mov, 24 bits": lambda w: w.made("stereo", "mov", "-c:a", "pcm_s24le"),
    "mov, big-endian": lambda w: w.made("stereo", "mov", "-c:a", "pcm_s16be"),
    "mov, float": lambda w: w.made("stereo", "mov", "-c:a", "pcm_f32le"),
    "mkv, 16 bits": lambda w: w.made("stereo", "mkv", "-c:a", "pcm_s16le"),
    "mkv, flac, streamed": lambda w: w.streamed("stereo", "matroska", "-c:a", "flac"),
    "webm, streamed": lambda w: w.streamed("stereo", "webm", *OPUS),
    "webm, cut off": lambda w: cut(w.made("stereo", "webm", *OPUS)),
    "caf": lambda w: w.made("stereo", "caf", "-c:a", "pcm_s16be"),
    "caf, streamed": lambda w: w.streamed("stereo", "caf", "-c:a", "pcm_s24le"),
    "caf, alac": lambda w: corpus.encoded("CAF", "ALAC_16", tone(SECONDS, 2, 44_100).T, 44_100),
    "amr": lambda w: w.made("phone", "amr", "-c:a", "libopencore_amrnb"),
    "3gp": lambda w: w.made("phone", "3gp", "-c:a", "libopencore_amrnb"),
    "wma": lambda w: w.made("mono", "wma"),
}

CHAINS: dict[str, Callable[[Workshop], list[bytes]]] = {
    "vorbis, other rate": lambda w: [w.made("mono", "ogg", *VORBIS), w.made("slow", "ogg", *VORBIS)],
    "vorbis, other channels": lambda w: [w.made("stereo", "ogg", *VORBIS), w.made("mono", "ogg", *VORBIS)],
    "opus, other channels": lambda w: [w.made("mono", "opus"), w.made("stereo", "opus")],
    "flac, other rate": lambda w: [w.made("slow", "oga", "-c:a", "flac"), w.made("stereo", "oga", "-c:a", "flac")],
    "vorbis, opus, flac": lambda w: [
        w.made("mono", "ogg", *VORBIS),
        w.made("stereo", "opus"),
        w.made("slow", "oga", "-c:a", "flac"),
    ],
}
"""Chained Ogg files whose links differ, which ffmpeg cannot read beyond the first: the links."""
