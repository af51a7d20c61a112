"""Any file either is read within the limits or is refused with an error of one sentence."""

import random
import re
import socket
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from musicgen_service.audio import ffmpeg, opening, reading
from musicgen_service.audio.reading import Audio, AudioError
from tests.audio import fuzz
from tests.support import corpus
from tests.support.sounds import RATE, tone


def read(folder: Path, content: bytes) -> Audio:
    path = folder / "song.wav"
    path.write_bytes(content)
    return reading.read(path)


def test_the_corpus_is_large() -> None:
    assert len(corpus.bad()) >= 60


@pytest.mark.parametrize("name", corpus.bad())
def test_bad_file_is_refused_with_one_sentence(name: str, tmp_path: Path) -> None:
    content, sentence = corpus.bad()[name]
    with pytest.raises(AudioError, match=sentence) as refusal:
        read(tmp_path, content)
    assert re.fullmatch(r"[^\n]{10,120}\.", str(refusal.value))
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize("name", corpus.odd())
def test_unusual_file_is_read(name: str, tmp_path: Path) -> None:
    fuzz.check(read(tmp_path, corpus.odd()[name]))


def test_decompression_bomb_is_limited_in_memory(tmp_path: Path) -> None:
    content, _ = corpus.bad()["8 channels at 192 kHz"]
    path = tmp_path / "bomb.flac"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match="more than 256 MiB"):
            reading.read(path)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * opening.MAX_BYTES
    finally:
        tracemalloc.stop()


def test_decoding_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "DEADLINE", -1.0)
    with pytest.raises(AudioError, match="to decode"):
        read(tmp_path, corpus.good()["flac"])


def test_length_in_the_header_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(corpus.wav(bytes(2 * corpus.RATE), claimed=2**31))
    assert reading.read(path).seconds == 1


def test_a_constant_offset_is_removed_and_loud_sound_is_scaled(tmp_path: Path) -> None:
    sound = 4 * tone(1)[0] / 0.3 + 0.5
    audio = read(tmp_path, corpus.encoded("WAV", "FLOAT", sound[:, None], RATE))
    assert abs(audio.samples.mean()) < 1e-6 and 0.8 < np.abs(audio.samples).max() <= 1
    assert np.corrcoef(audio.samples[0], sound)[0, 1] > 0.9999


def test_silence_is_detected() -> None:
    assert Audio(np.zeros((2, 9), np.float32), RATE).is_silent
    assert not Audio(tone(1), RATE).is_silent


def test_ffmpeg_does_not_follow_scripts(tmp_path: Path) -> None:
    song, script = tmp_path / "song.flac", tmp_path / "script.txt"
    soundfile.write(song, tone(1).T, RATE)
    script.write_text(f"ffconcat version 1.0\nfile '{song.name}'\n")
    ffmpeg.run(["-i", str(script), "-f", "null", "-"])  # without restrictions, ffmpeg follows it
    with pytest.raises(AudioError, match="not audio"):
        reading.read(script)


def test_ffmpeg_does_not_open_referenced_files(tmp_path: Path) -> None:
    song, secret = tmp_path / "song.mov", tmp_path / "secret"
    secret.write_bytes(b"\x39\x30" * corpus.RATE * 4)
    song.write_bytes(corpus.referring(corpus.transcoded("mov", "pcm_s16le"), str(secret)))
    arguments = ["-enable_drefs", "1", "-use_absolute_path", "1", "-i", str(song), "-f", "s16le", "pipe:1"]
    assert ffmpeg.run(arguments)[:2] == secret.read_bytes()[:2]  # with these options, ffmpeg opens it
    with pytest.raises(AudioError, match="holds no sound"):
        reading.read(song)


def test_decoding_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    monkeypatch.setattr(ffmpeg, "MAX_FILE", 0)
    song = tmp_path / "song.m4a"
    song.write_bytes(corpus.good()["m4a"])
    assert reading.read(song).seconds == pytest.approx(1, abs=0.1)


def test_audio_is_in_memory_only_once(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    soundfile.write(song, np.zeros((600 * 8000, 2), np.int16), 8000)
    tracemalloc.start()
    try:
        size = reading.read(song).samples.nbytes
        assert tracemalloc.get_traced_memory()[1] < 1.3 * size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["m4a", "flac"])
def test_aborted_read_kills_ffmpeg(kind: str, tmp_path: Path) -> None:
    song = tmp_path / "song"
    song.write_bytes(corpus.good()[kind])
    before = set(psutil.Process().children())
    with pytest.raises(KeyboardInterrupt), opening.decoder(song) as decoder:
        next(decoder.blocks())
        raise KeyboardInterrupt
    assert set(psutil.Process().children()) <= before


def test_ffmpeg_does_not_open_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "TIMEOUT", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with pytest.raises(ffmpeg.FfmpegError):
            ffmpeg.run(["-i", f"http://127.0.0.1:{listener.getsockname()[1]}/a.wav", "-f", "null", "-"])
        with pytest.raises(BlockingIOError):  # no connection was made
            listener.accept()


ENDLESS = ["-f", "lavfi", "-i", "anoisesrc=r=192000"]


def test_ffmpeg_is_limited_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "TIMEOUT", 1.0)
    with pytest.raises(ffmpeg.FfmpegError, match="gave up"):
        ffmpeg.run(["-re", *ENDLESS, "-f", "null", "-"])


def test_ffmpeg_is_limited_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    second = [*ENDLESS, "-t", "1", "-f", "null", "-"]
    ffmpeg.run(second)
    monkeypatch.setattr(ffmpeg, "MAX_MEMORY", 2**25)
    with pytest.raises(ffmpeg.FfmpegError):
        ffmpeg.run(second)


def test_ffmpeg_is_limited_in_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "MAX_FILE", 2**20)
    target = tmp_path / "endless.wav"
    with pytest.raises(ffmpeg.FfmpegError):
        ffmpeg.run([*ENDLESS, "-ac", "8", str(target)])
    assert target.stat().st_size <= ffmpeg.MAX_FILE


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    opened = len(list(Path("/proc/self/fd").iterdir()))
    outcome = fuzz.run(100, seed=1, folder=tmp_path)
    assert sum(outcome.values()) == 100 and outcome["read"] > 10 and outcome["refused"] > 10
    assert len(list(Path("/proc/self/fd").iterdir())) == opened


def test_mutations_are_reproducible() -> None:
    assert fuzz.mutate(b"RIFF" * 99, random.Random(3)) == fuzz.mutate(b"RIFF" * 99, random.Random(3))


def test_the_fuzz_command_runs() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.audio.fuzz", "5"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "5 mutated files" in done.stdout
