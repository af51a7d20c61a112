"""Files that are not audio or are malformed: name -> (content, pattern of the error message)."""

import io
import random
import struct
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from musicgen_service.audio import ffmpeg
from tests.support.sounds import tone

RATE = 16_000
PCM, ADPCM, FLOAT, IMA_ADPCM, GSM = 1, 2, 3, 0x11, 0x31
NO_AUDIO = "not audio that can be decoded"
EMPTY = f"holds no sound|{NO_AUDIO}|damaged"


def wav(
    data: bytes = b"\1\0" * 100,
    *,
    tag: int = PCM,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    claimed: int | None = None,
    frame: int | None = None,
) -> bytes:
    """A wav file with a chosen header."""
    frame = channels * bits // 8 if frame is None else frame
    form = struct.pack("<HHIIHH", tag, channels % 65_536, rate, rate * frame % 2**32, frame % 65_536, bits)
    size = len(data) if claimed is None else claimed
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def encoded(container: str, subtype: str, samples: np.ndarray, rate: int = RATE) -> bytes:
    """Samples [frames, channels] in one of libsndfile's formats."""
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate, samples.shape[1], subtype, format=container) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return out.getvalue()


@cache
def transcoded(suffix: str, codec: str) -> bytes:
    """A second of music in one of ffmpeg's formats."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.wav", Path(folder) / f"b.{suffix}"
        source.write_bytes(encoded("WAV", "PCM_16", tone(1, 2, RATE).T))
        rate = ["-ar", "8000", "-ac", "1"] if codec == "real_144" else []
        ffmpeg.run(["-i", str(source), *rate, "-c:a", codec, "-strict", "-2", str(target)])
        return target.read_bytes()


@cache
def good() -> dict[str, bytes]:
    """A second of music in each accepted format."""
    sound = tone(1, 2, RATE).T
    return {
        "wav": encoded("WAV", "PCM_16", sound),
        "float.wav": encoded("WAV", "FLOAT", sound),
        "aiff": encoded("AIFF", "PCM_16", sound),
        "flac": encoded("FLAC", "PCM_16", sound),
        "vorbis.ogg": encoded("OGG", "VORBIS", sound),
        "opus.ogg": encoded("OGG", "OPUS", sound),
        "mp3": encoded("MP3", "MPEG_LAYER_III", sound),
        "m4a": transcoded("m4a", "aac"),
        "webm": transcoded("webm", "libopus"),
        "mov": transcoded("mov", "pcm_s16le"),
        "caf": encoded("CAF", "ALAC_16", sound),
        "chained.ogg": encoded("OGG", "VORBIS", sound) * 2,
    }


def bomb(container: str, subtype: str) -> bytes:
    """Sixteen minutes of silence, which compresses to next to nothing."""
    return encoded(container, subtype, np.zeros((16 * 60 * 8000, 1), np.int16), 8000)


@cache
def bad() -> dict[str, tuple[bytes, str]]:
    """Every file, with the pattern that its error must match."""
    return truncated() | lies() | samples() | bombs() | disguises() | other_kinds()


# Each of these offsets is the end of a field of the header.
BOUNDARIES = {
    "wav": (0, 4, 8, 12, 16, 20, 22, 24, 28, 32, 34, 36, 40, 44),
    "aiff": (4, 8, 12, 16, 20, 22, 26, 28),
    "flac": (4, 8, 18, 42),
    "vorbis.ogg": (4, 6, 14, 27, 28, 58),
    "opus.ogg": (4, 27, 47),
    "mp3": (1, 4, 36),
    "m4a": (4, 8, 28, 36, 44),
    "webm": (4, 5, 12, 40, 64),
}


def truncated() -> dict[str, tuple[bytes, str]]:
    found = {
        f"{kind} cut at {offset}": (good()[kind][:offset], EMPTY)
        for kind, offsets in BOUNDARIES.items()
        for offset in offsets
    }
    return found | {"flac cut in the middle": (good()["flac"][: len(good()["flac"]) // 2], "damaged")}


def lies() -> dict[str, tuple[bytes, str]]:
    return {
        "no frames": (wav(b""), "holds no sound"),
        "no frames, 4 GiB claimed": (wav(b"", claimed=2**32 - 1), EMPTY),
        "no channels": (wav(channels=0, frame=2), EMPTY),
        "9 channels": (wav(bytes(1800), channels=9), "9 channels; 1 to 8"),
        "1024 channels": (wav(bytes(204_800), channels=1024), "1024 channels; 1 to 8"),
        "65535 channels": (wav(bytes(1000), channels=65_535), f"channels|{NO_AUDIO}"),
        "rate of zero": (wav(rate=0), f"samples per second|{NO_AUDIO}"),
        "rate of one": (wav(rate=1), "1 samples per second"),
        "rate below the least": (wav(rate=7_999), "7999 samples per second"),
        "rate above the most": (wav(rate=192_001), "192001 samples per second"),
        "rate of 2^31-1": (wav(rate=2**31 - 1), "2147483647 samples per second"),
        "rate of 2^32-1": (wav(rate=2**32 - 1), f"samples per second|{NO_AUDIO}"),
        "no bits": (wav(bits=0, frame=0), EMPTY),
        "64-bit integers": (wav(bits=64), f"{EMPTY}|not accepted"),
        "unknown code": (wav(tag=0x7777), NO_AUDIO),
        "ADPCM": (encoded("WAV", "MS_ADPCM", tone(1, 1, RATE).T), "MS ADPCM is not accepted"),
        "IMA ADPCM": (encoded("WAV", "IMA_ADPCM", tone(1, 1, RATE).T), "adpcm_ima_wav is not accepted"),
        "GSM": (encoded("WAV", "GSM610", tone(1, 1, RATE).T), "GSM 6.10 is not accepted"),
        "crafted IMA ADPCM": (wav(bytes(4096), tag=IMA_ADPCM, bits=4, channels=2, frame=7), f"{EMPTY}|not accepted"),
        "Creative Voice": (encoded("VOC", "PCM_16", tone(1, 1, RATE).T), "Creative Voice is not accepted"),
        "Matlab": (encoded("MAT5", "PCM_16", tone(1, 1, RATE).T), NO_AUDIO),
        "a codec that nobody asked for": (transcoded("mka", "ac3"), "AC-3 is not accepted"),
    }


def samples() -> dict[str, tuple[bytes, str]]:
    numbers = {"NaN": np.nan, "infinity": np.inf, "-infinity": -np.inf}
    late = np.zeros(200_000, np.float32)
    late[-1] = np.nan
    found = {
        name: (wav(np.array([0.1, value, 0.1], "<f4").tobytes(), tag=FLOAT, bits=32), "not numbers")
        for name, value in numbers.items()
    }
    return found | {
        "NaN at the end": (wav(late.tobytes(), tag=FLOAT, bits=32), "not numbers"),
        "a mix beyond float": (wav(np.full(54, 3e38, "<f4").tobytes(), tag=FLOAT, bits=32, channels=6), "not numbers"),
        "double beyond float": (wav(np.array([0.1, 1e300]).tobytes(), tag=FLOAT, bits=64), "not numbers"),
    }


def bombs() -> dict[str, tuple[bytes, str]]:
    kinds = (("OGG", "VORBIS"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"))
    found = {f"{subtype} bomb": (bomb(container, subtype), "longer than 15 minutes") for container, subtype in kinds}
    wide = encoded("FLAC", "PCM_16", np.zeros((45 * 192_000, 8), np.int16), 192_000)
    return found | {"8 channels at 192 kHz": (wide, "more than 256 MiB")}


def disguises() -> dict[str, tuple[bytes, str]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("song.wav", good()["wav"])
    other = {
        "nothing": b"",
        "one byte": b"R",
        "zeros": bytes(5000),
        "ones": b"\xff" * 5000,
        "html": b"<!doctype html><html><body>404 Not Found</body></html>",
        "json": b'{"error": "not found"}',
        "text": b"la la la " * 100,
        "m3u playlist": b"#EXTM3U\nhttp://127.0.0.1/a.ts\n",
        "hls playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "pls playlist": b"[playlist]\nFile1=/etc/passwd\nNumberOfEntries=1\n",
        "ffconcat script": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "dash manifest": b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>',
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "pdf": b"%PDF-1.7\n" + bytes(100),
        "elf": b"\x7fELF" + bytes(100),
        "gzip": b"\x1f\x8b\x08\0" + bytes(100),
        "pickle": b"cos\nsystem\n(S'true'\ntR.",
        "midi": b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0",
        "zip": archive.getvalue(),
        "cover art alone": b"ID3\4\0\0\0\0\x0f\x7fAPIC\0\0\7\x75\0\0\0image/png\0\3\0\x89PNG" + bytes(2000),
        "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nla\n",
    }
    noise = {f"random bytes {seed}": random.Random(seed).randbytes(4096) for seed in range(6)}
    found = {name: (content, NO_AUDIO) for name, content in (other | noise).items()}
    return found | {
        "DRM m4a": (good()["m4a"].replace(b"mp4a", b"drms"), "copy-protected"),
        "encrypted m4a": (good()["m4a"].replace(b"mp4a", b"enca"), "copy-protected"),
    }


def other_kinds() -> dict[str, tuple[bytes, str]]:
    """Formats that are recognised but not accepted."""
    made = {
        "AC-3": transcoded("ac3", "ac3"),
        "DTS": transcoded("dts", "dca"),
        "True Audio": transcoded("tta", "tta"),
        "WavPack": transcoded("wv", "wavpack"),
        "RealAudio": transcoded("rm", "real_144"),
        "Sun AU": transcoded("au", "pcm_s16be"),
        "AVI": transcoded("avi", "pcm_s16le"),
        "MPEG stream": transcoded("ts", "mp2"),
        "MPEG layer II": transcoded("mp2", "mp2"),
        "Monkey's Audio": b"MAC \x96\x0f" + bytes(100),
        "DSD": b"DSD " + struct.pack("<Q", 28) + bytes(100),
        "Musepack": b"MPCK" + bytes(100),
        "tracker module": b"Extended Module: song" + bytes(300),
        "SILK": b"\2#!SILK_V3" + bytes(100),
    }
    found = {name: (content, f"{name} is not accepted; use") for name, content in made.items()}
    return found | {
        "MIDI by name": (disguises()["midi"][0], f"{NO_AUDIO} but MIDI notes"),
        "a picture by name": (disguises()["png"][0], f"{NO_AUDIO} but a picture"),
        "an archive by name": (disguises()["zip"][0], f"{NO_AUDIO} but an archive"),
        "a document by name": (disguises()["pdf"][0], f"{NO_AUDIO} but a PDF document"),
        "a page by name": (disguises()["html"][0], f"{NO_AUDIO} but a web page"),
        "a playlist by name": (disguises()["hls playlist"][0], f"{NO_AUDIO} but a playlist"),
        "video alone": (silent_video(), f"{NO_AUDIO}: it has no sound track"),
        "m4a without its end": (good()["m4a"][:9000], "damaged: its end is missing"),
    }


@cache
def silent_video() -> bytes:
    """A second of red video without sound."""
    with TemporaryDirectory() as folder:
        target = Path(folder) / "red.mp4"
        ffmpeg.run(["-f", "lavfi", "-i", "color=red:s=64x64:d=1", str(target)])
        return target.read_bytes()


def box(name: bytes, body: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    return struct.pack(">I", len(body) + 8) + name + body


def referring(mov: bytes, path: str) -> bytes:
    """A mov file whose samples are in another file: its data reference is an alias record of QuickTime's."""
    location = path.encode() + bytes(len(path.encode()) % 2)
    record = bytes(130) + struct.pack(">hh16x", -1, -1)
    record += struct.pack(">HH", 2, len(location)) + location + struct.pack(">HH", 0xFFFF, 0)
    at = mov.index(b"dref") - 4
    [size] = struct.unpack_from(">I", mov, at)
    reference = box(b"dref", bytes(4) + struct.pack(">I", 1) + box(b"alis", bytes(4) + record))
    changed = bytearray(mov[:at] + reference + mov[at + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        where = changed.index(name, changed.index(b"moov")) - 4
        [size_of_box] = struct.unpack_from(">I", changed, where)
        struct.pack_into(">I", changed, where, size_of_box + len(reference) - size)
    return bytes(changed)


@cache
def odd() -> dict[str, bytes]:
    """Files with wrong headers that can be read nevertheless."""
    picture = b"\xff\xd8\xff" + bytes(50_000)
    frame = b"\3image/jpeg\0\3\0" + picture
    tag = b"APIC" + struct.pack(">I", len(frame)) + b"\0\0" + frame
    size = len(tag)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return {
        "claims 4 GiB": wav(claimed=2**32 - 1),
        "claims nothing of what follows": wav(claimed=100),
        "odd number of bytes": wav(b"\1" * 201),
        "17 bits": wav(bits=17, frame=3),
        "samples of 1e30": wav(np.array([1e30, -1e30, 0.5] * 9, "<f4").tobytes(), tag=FLOAT, bits=32),
        "the largest floats": wav(np.array([3e38, -3e38, -3e38] * 9, "<f4").tobytes(), tag=FLOAT, bits=32),
        "all offset": wav(np.full(500, 0.9, "<f4").tobytes(), tag=FLOAT, bits=32),
        "cover art": b"ID3\3\0\0" + synchsafe + tag + good()["mp3"],
        "cut in the middle": good()["wav"][:20_001],
        "junk after the end": good()["wav"] + bytes(1000),
    }
