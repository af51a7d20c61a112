"""Encoded files are complete, exact in length, tagged and reproducible."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_service.audio import encoding, ffmpeg, reading
from musicgen_service.audio.encoding import BIT_DEPTHS, FORMATS, EncodingError
from musicgen_service.audio.tags import Tags
from tests.support.sounds import RATE, tone

TAGS = Tags("jazz", "{}", "test")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [100, 12_345, 70_001])
def test_length_and_channels_survive(tmp_path: Path, name: str, channels: int, samples: int) -> None:
    path = tmp_path / f"clip.{name}"
    encoding.write(tone(3, channels)[:, :samples], RATE, path, TAGS)
    assert soundfile.info(path).frames == samples
    assert reading.read(path).samples.shape == (channels, samples)
    assert soundfile.info(path).samplerate == RATE


@pytest.mark.parametrize(("name", "error"), [("wav", 1e-4), ("flac", 1e-4), ("mp3", 0.02), ("ogg", 0.05)])
def test_the_sound_survives(tmp_path: Path, name: str, error: float) -> None:
    sound = tone(2, 2)
    encoding.write(sound, RATE, tmp_path / f"clip.{name}", TAGS)
    assert np.abs(reading.read(tmp_path / f"clip.{name}").samples - sound).max() < error


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_clip_gives_the_same_audio(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / f"a.{name}", tmp_path / f"b.{name}"
    for path in (first, second):
        encoding.write(tone(1), RATE, path, TAGS)
    assert np.array_equal(reading.read(first).samples, reading.read(second).samples)
    if name != "ogg":  # Ogg streams have random serial numbers
        assert first.read_bytes() == second.read_bytes()


def test_wav_is_16_bit_and_mp3_has_320_kbit(tmp_path: Path) -> None:
    for name in ("wav", "mp3"):
        encoding.write(tone(4, 2), RATE, tmp_path / f"clip.{name}", TAGS)
    assert soundfile.info(tmp_path / "clip.wav").subtype == "PCM_16"
    assert (tmp_path / "clip.mp3").stat().st_size * 8 / 4 == pytest.approx(320_000, rel=0.05)


STEPS = {16: 2**-15, 24: 2**-23, 32: 0}


@pytest.mark.parametrize(("name", "bits"), [(name, bits) for name, depths in BIT_DEPTHS.items() for bits in depths])
def test_a_sample_has_the_bits_asked_for(tmp_path: Path, name: str, bits: int) -> None:
    sound = tone(1, 2)
    for path in (tmp_path / f"a.{name}", tmp_path / f"b.{name}"):
        encoding.write(sound, RATE, path, TAGS, bits)
    assert path.read_bytes() == (tmp_path / f"a.{name}").read_bytes()
    assert soundfile.info(path).subtype == {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}[bits]
    read, _ = soundfile.read(path, always_2d=True)
    assert np.abs(read.T - sound).max() <= STEPS[bits]
    pcm, rate = encoding.read_pcm(path)
    assert rate == RATE and np.array_equal(pcm, encoding.quantised(encoding.to_float(pcm), bits))


def test_long_ogg_files_are_written(tmp_path: Path) -> None:
    encoding.write(tone(120, 2), RATE, tmp_path / "clip.ogg", TAGS)
    assert soundfile.info(tmp_path / "clip.ogg").frames == 120 * RATE


@pytest.mark.parametrize(("rate", "channels"), [(32_000, 1), (44_100, 2), (22_050, 1)])
@pytest.mark.parametrize("missing", [1, 30, 46, 47])
def test_an_mp3_is_exact_where_its_last_frame_is_all_but_full(
    tmp_path: Path, rate: int, channels: int, missing: int
) -> None:
    """Where ffmpeg counts too little padding; what it is encoded with is 1105 samples late."""
    length, path = 1152 * 20 - 1105 - missing, tmp_path / "clip.mp3"
    sound = np.repeat(tone(1)[:, :length], channels, axis=0)
    encoding.write(sound, rate, path, TAGS)
    assert soundfile.info(path).frames == length
    decoded = soundfile.read(path)[0].reshape(length, channels)
    assert np.abs(decoded[100:-100].T - sound[:, 100:-100]).max() < 0.02
    command = [ffmpeg.path(), "-v", "error", "-i", str(path), "-f", "s16le", "-"]
    assert len(subprocess.run(command, capture_output=True, check=True).stdout) == 2 * channels * length


@pytest.mark.parametrize("name", FORMATS)
def test_failed_write_leaves_no_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(EncodingError, match=f"clip.{name} could not be written"):
        encoding.write(tone(1), RATE, tmp_path / "missing" / f"clip.{name}", TAGS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_failed_encoder_leaves_no_files(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    monkeypatch.setattr("musicgen_service.audio.child.run", full)
    with pytest.raises(EncodingError, match="No space left"):
        encoding.write(tone(1), RATE, tmp_path / f"clip.{name}", TAGS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["wav", "flac", "ogg"])
def test_incomplete_file_is_detected(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write = soundfile.SoundFile.write
    monkeypatch.setattr(soundfile.SoundFile, "write", lambda file, samples: write(file, samples[:-9]))
    with pytest.raises(EncodingError, match=f"clip.{name} could not be written: it did not arrive whole"):
        encoding.write(tone(1), RATE, tmp_path / f"clip.{name}", TAGS)
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import resource, sys
from pathlib import Path
from musicgen_service.audio import encoding
from tests.audio.test_encoding import RATE, TAGS, tone
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    encoding.write(tone(4, 2), RATE, Path(sys.argv[1]), TAGS)
except encoding.EncodingError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [0, 8, 20_000])
@pytest.mark.parametrize("name", FORMATS)
def test_full_disk_leaves_no_files(tmp_path: Path, name: str, room: int) -> None:
    target = tmp_path / f"clip.{name}"
    done = subprocess.run([sys.executable, "-c", SCRIPT, target, str(room)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"clip.{name} could not be written: ") and str(tmp_path) not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_samples_beyond_one_are_clamped() -> None:
    assert encoding.to_int16(np.array([[2.0, -2.0, 0.0]], np.float32)).tolist() == [[32767], [-32768], [0]]
