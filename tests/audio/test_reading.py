"""Audio of any common format is read; anything else is refused with one sentence."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_service.audio import ffmpeg, reading
from musicgen_service.audio.reading import Audio, AudioError
from tests.support.sounds import RATE, tone


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(2, 2).T, RATE)
    return path


@pytest.mark.parametrize("name", ["flac", "ogg", "mp3"])
def test_formats_of_libsndfile(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"song.{name}"
    soundfile.write(path, tone(2, 2).T, RATE)
    assert reading.read(path).samples.shape == (2, 2 * RATE)


@pytest.mark.parametrize(
    ("name", "codec"), [("m4a", "aac"), ("webm", "libopus"), ("mka", "libvorbis"), ("wma", "wmav2")]
)
def test_formats_of_ffmpeg(wav: Path, tmp_path: Path, name: str, codec: str) -> None:
    path = tmp_path / f"song.{name}"
    ffmpeg.run(["-i", str(wav), "-c:a", codec, str(path)])
    audio = reading.read(path)
    assert audio.samples.shape[0] == 2 and audio.seconds == pytest.approx(2, abs=0.15)


def test_cover_art_is_ignored(wav: Path, tmp_path: Path) -> None:
    picture, song = tmp_path / "cover.png", tmp_path / "song.mp3"
    ffmpeg.run(["-f", "lavfi", "-i", "color=red:s=64x64:d=1", "-frames:v", "1", str(picture)])
    ffmpeg.run(["-i", str(wav), "-i", str(picture), "-map", "0:a", "-map", "1:v", "-c:v", "mjpeg", str(song)])
    assert reading.read(song).seconds == pytest.approx(2, abs=0.05)


def test_file_name_does_not_matter(wav: Path, tmp_path: Path) -> None:
    nameless = tmp_path / "upload"
    wav.rename(nameless)
    assert reading.read(nameless).seconds == 2


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"RIFF", bytes(5000), b"#EXTM3U\nhttp://127.0.0.1/a.ts\n"])
def test_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match="not audio that can be decoded"):
        reading.read(path)


def test_an_empty_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.zeros((0, 1)), RATE)
    with pytest.raises(AudioError, match="holds no sound"):
        reading.read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_must_be_numbers(tmp_path: Path, value: float) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.array([0.1, value, 0.1]), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="not numbers"):
        reading.read(path)


def test_errors_name_the_limits(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.zeros((100, 9)), RATE)
    with pytest.raises(AudioError, match="9 channels; 1 to 8 are allowed"):
        reading.read(path)
    soundfile.write(path, np.zeros(100), 4000)
    with pytest.raises(AudioError, match="4000 samples per second; 8000 to 192000"):
        reading.read(path)
    soundfile.write(path, np.zeros(8000 * 901, np.int16), 8000)
    with pytest.raises(AudioError, match="longer than 15 minutes"):
        reading.read(path)


def test_long_file_is_refused_while_ffmpeg_decodes(tmp_path: Path) -> None:
    path = tmp_path / "song.mka"
    ffmpeg.run(["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "2000", "-c:a", "flac", str(path)])
    with pytest.raises(AudioError, match="longer than 15 minutes"):
        reading.read(path)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("target", [1, 2])
def test_channels_and_rate_are_converted(channels: int, target: int) -> None:
    converted = Audio(tone(1, channels, rate=44_100), 44_100).convert(RATE, target)
    assert converted.samples.shape == (target, RATE)
    assert converted.samples.dtype == np.float32


def test_mono_is_the_mean_and_stereo_is_doubled() -> None:
    stereo = Audio(np.array([[0.2, 0.4], [0.4, 0.0]], np.float32), RATE)
    assert stereo.convert(RATE, 1).samples == pytest.approx(np.array([[0.3, 0.2]]))
    mono = stereo.convert(RATE, 1).convert(RATE, 2).samples
    assert np.array_equal(mono[0], mono[1])


def test_resampling_keeps_the_pitch() -> None:
    time = np.arange(44_100) / 44_100
    converted = Audio(np.sin(2 * np.pi * 1000 * time)[None].astype(np.float32), 44_100).convert(RATE, 1)
    assert np.abs(np.fft.rfft(converted.samples[0])).argmax() == 1000


def test_slices_are_in_seconds() -> None:
    audio = Audio(tone(3), RATE)
    assert audio.slice(1, 2).seconds == 1
    assert audio.slice(1, None).seconds == 2
    assert audio.slice(1, 60).seconds == 2


@pytest.mark.parametrize(("kind", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
@pytest.mark.parametrize("offset", [0.0, 0.01234, -0.3])
def test_samples_of_a_file_are_known_as_they_are(tmp_path: Path, kind: str, bits: int, offset: float) -> None:
    """Also where a constant offset was taken out of them, and to the bit."""
    rng = np.random.default_rng(0)
    stored = np.clip(
        np.round((rng.normal(0, 0.2, (4000, 2)) + offset) * 2 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    )
    path = tmp_path / "song.wav"
    soundfile.write(path, (stored * 2 ** (32 - bits)).astype(np.int32), RATE, subtype=kind)
    audio = reading.read_input(path)
    assert abs(audio.samples.mean()) < 1e-5
    assert np.array_equal(audio.unchanged.samples.T * 2 ** (bits - 1), stored)


def test_samples_are_known_as_they_are_where_they_were_made_quieter(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    sound = np.array([0.9, 1.0, 0.8, -1.0] * 1000)
    soundfile.write(path, sound, RATE, subtype="PCM_16")
    audio = reading.read_input(path)
    assert audio.gain > 1.4 and np.abs(audio.samples).max() <= 1
    np.testing.assert_allclose(audio.unchanged.samples[0], sound, atol=1 / 32768)
