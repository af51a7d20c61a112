"""Channels are mixed according to their speakers, and cancellation is detected."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_service import notes
from musicgen_service.audio import ffmpeg, reading
from musicgen_service.audio.reading import Audio
from tests.support.sounds import tone

RATE = 48_000
HALF = 2**-0.5
FREQUENCIES = [300, 500, 700, 900, 1100, 1300, 1500, 1700]
# Gain of each channel on the left and on the right.
LEFT, RIGHT, CENTRE, EFFECTS = (1, 0), (0, 1), (HALF, HALF), (0, 0)
LEFT_BACK, RIGHT_BACK, BACK = (HALF, 0), (0, HALF), (0.5, 0.5)
LAYOUTS = {
    3: [LEFT, RIGHT, CENTRE],
    4: [LEFT, RIGHT, LEFT_BACK, RIGHT_BACK],
    5: [LEFT, RIGHT, CENTRE, LEFT_BACK, RIGHT_BACK],
    6: [LEFT, RIGHT, CENTRE, EFFECTS, LEFT_BACK, RIGHT_BACK],
    7: [LEFT, RIGHT, CENTRE, EFFECTS, BACK, LEFT_BACK, RIGHT_BACK],
    8: [LEFT, RIGHT, CENTRE, EFFECTS, LEFT_BACK, RIGHT_BACK, LEFT_BACK, RIGHT_BACK],
}
"""Gains by number of channels, in the order of wav and flac."""
VORBIS = {
    3: [0, 2, 1],
    4: [0, 1, 2, 3],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 4, 5, 3],
    7: [0, 2, 1, 5, 6, 4, 3],
    8: [0, 2, 1, 6, 7, 4, 5, 3],
}
"""Indices of those channels in the order of Vorbis and Opus (Vorbis I, 4.3.9)."""
MASKS = {
    0x7: [LEFT, RIGHT, CENTRE],
    0xB: [LEFT, RIGHT, EFFECTS],
    0x107: [LEFT, RIGHT, CENTRE, BACK],
    0x33: [LEFT, RIGHT, LEFT_BACK, RIGHT_BACK],
    0x60F: [LEFT, RIGHT, CENTRE, EFFECTS, LEFT_BACK, RIGHT_BACK],
    0x137: [LEFT, RIGHT, CENTRE, LEFT_BACK, RIGHT_BACK, BACK],
    0xFF: [LEFT, RIGHT, CENTRE, EFFECTS, LEFT_BACK, RIGHT_BACK, LEFT, RIGHT],
}
"""Gains by the speaker mask of a wav file."""


def tones(count: int, amplitude: float = 0.1) -> np.ndarray:
    """One second [samples, channels] with a different tone in each channel."""
    time = np.arange(RATE) / RATE
    return np.stack([amplitude * np.sin(2 * np.pi * hertz * time) for hertz in FREQUENCIES[:count]], axis=1)


def levels(samples: np.ndarray, rate: int, count: int) -> np.ndarray:
    """The level of each tone on each side: [count, 2], relative to a channel's own level."""
    length = samples.shape[1]
    window = np.hanning(length)
    spectrum = np.abs(np.fft.rfft(samples * window)) / window.sum() * 2 / 0.1
    return spectrum[:, [round(hertz * length / rate) for hertz in FREQUENCIES[:count]]].T


def wav_with_mask(mask: int) -> bytes:
    """A wav file that names its speakers."""
    count = mask.bit_count()
    data = (tones(count) * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHHHHI", 0xFFFE, count, RATE, RATE * 2 * count, 2 * count, 16, 22, 16, mask)
    form += struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("kind", ["wav", "aiff", "flac", "vorbis.ogg", "opus.ogg", "m4a"])
@pytest.mark.parametrize("count", LAYOUTS)
def test_multichannel_audio_is_mixed_by_layout(kind: str, count: int, tmp_path: Path) -> None:
    sound, path = tones(count), tmp_path / f"song.{kind}"
    if kind.endswith("ogg"):
        sound = sound[:, VORBIS[count]]
        with soundfile.SoundFile(path, "w", RATE, count, kind.split(".")[0].upper(), format="OGG") as file:
            file.write(sound)
    elif kind == "m4a":
        if count == 7:
            pytest.skip("ffmpeg's AAC encoder has no seven channels")
        soundfile.write(tmp_path / "song.flac", sound, RATE)
        ffmpeg.run(["-i", str(tmp_path / "song.flac"), "-c:a", "aac", "-b:a", "512k", str(path)])
    else:
        soundfile.write(path, sound, RATE)
    audio = reading.read(path)
    assert levels(audio.samples, audio.rate, count) == pytest.approx(np.array(LAYOUTS[count]), abs=0.12)


@pytest.mark.parametrize("mask", MASKS)
def test_speaker_mask_of_a_wav_is_used(mask: int, tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(wav_with_mask(mask))
    audio = reading.read(path)
    assert levels(audio.samples, audio.rate, mask.bit_count()) == pytest.approx(np.array(MASKS[mask]), abs=0.02)


def test_reported_file_keeps_left_and_right() -> None:
    audio = reading.read(Path("tests/data/audio/six_vorbis.ogg"))
    spectrum = np.abs(np.fft.rfft(audio.samples * np.hanning(audio.samples.shape[1])))
    assert [round(side.argmax() * audio.rate / audio.samples.shape[1]) for side in spectrum] == [300, 500]


def test_loud_channels_are_mixed_without_clipping(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.repeat(tones(1, 0.99), 6, axis=1), RATE)
    left, _ = reading.read(path).samples
    assert 0.9 < np.abs(left).max() <= 1
    assert np.corrcoef(left, tones(1)[:, 0])[0, 1] > 0.9999


def mixed(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, list[str]]:
    with notes.collected() as collected:
        return Audio(np.stack([left, right]).astype(np.float32), RATE).mono, collected


def noise(seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(2 * RATE)


CHORD = tone(2, rate=RATE)[0]
BASS = 0.2 * np.sin(2 * np.pi * 90 * np.arange(2 * RATE) / RATE)


def test_louder_side_is_used_with_a_note_when_sides_cancel_out() -> None:
    mono, [note] = mixed(0.9 * CHORD, -CHORD)
    assert np.array_equal(mono, -CHORD)
    assert note == "The two sides of the audio cancel out when they are mixed to mono, so the louder one is used alone."


CANCELLING = {
    "not quite opposite": (CHORD, -0.7 * CHORD),
    "with a little noise": (1.1 * CHORD, -CHORD + 0.1 * noise(0)),
    "the bass alone": (CHORD + BASS, 0.9 * CHORD - BASS),
    "half of the time": (CHORD, np.concatenate([CHORD[:RATE], -CHORD[RATE:]])),
}
SOUND = {
    "the same": (CHORD, CHORD),
    "unrelated": (noise(1), noise(2)),
    "one side at half the level": (CHORD, 0.5 * CHORD),
    "a little opposite": (noise(1) + 0.3 * noise(2), noise(1) - 0.3 * noise(2)),
    "delayed by 12 ms": (noise(1), np.roll(noise(1), RATE * 12 // 1000)),
    "each note on a side": (CHORD, BASS),
}


@pytest.mark.parametrize("name", CANCELLING)
def test_partial_cancellation_is_detected(name: str) -> None:
    left, right = CANCELLING[name]
    mono, collected = mixed(left, right)
    assert collected and np.allclose(mono, left, atol=1e-6)


@pytest.mark.parametrize("name", SOUND)
def test_ordinary_stereo_is_mixed(name: str) -> None:
    left, right = SOUND[name]
    mono, collected = mixed(left, right)
    assert not collected and np.allclose(mono, (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("quiet", [np.zeros_like(CHORD), 1e-3 * noise(0)])
def test_a_silent_side_does_not_halve_the_level(quiet: np.ndarray) -> None:
    for pair in ((CHORD, quiet), (quiet, CHORD)):
        mono, collected = mixed(*pair)
        assert not collected and np.array_equal(mono, CHORD)


def test_silence_is_judged_by_the_mono_mix(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.pad(tones(1), [(0, 0), (3, 2)]), RATE)  # six channels, and sound in the fourth
    assert reading.read(path).is_silent
    assert not reading.read(Path("tests/data/audio/antiphase.flac")).is_silent


@pytest.mark.parametrize("length", [1, 2, 10, 100, 5000])
def test_cancellation_is_detected_in_short_audio(length: int) -> None:
    mono, collected = mixed(CHORD[1 : length + 1], -0.9 * CHORD[1 : length + 1])
    assert len(collected) == 1 and np.array_equal(mono, CHORD[1 : length + 1])


def test_reported_file_keeps_its_level_in_mono() -> None:
    audio = reading.read(Path("tests/data/audio/antiphase.flac"))
    with notes.collected() as collected:
        mono = audio.convert(32_000, 1).samples
    assert np.sqrt((mono**2).mean()) == pytest.approx(np.sqrt((audio.samples**2).mean()), rel=0.01)
    assert len(collected) == 1
