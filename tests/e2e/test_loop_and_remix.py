"""Loops and remixes over HTTP with the shipped checkpoint: exact length in every format, reproducible, clear errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from demo.synth import Synthesiser
from musicgen_service.audio import ffmpeg, recipe
from tests.e2e.test_audio import MIME
from tests.support.fake_music_model import jump_at_the_seam
from tests.support.harness import Clip, Server, data_uri

RATE = 32_000
LOOP = {"task": "loop", "prompt": "pop with drums", "model_version": "demo", "duration": 2, "seed": 5}
REMIX = {"task": "remix", "prompt": "lofi piano", "model_version": "demo", "seed": 5}


@pytest.fixture(scope="module")
def band_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of synthesised music in stereo at 44.1 kHz."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    audio = Synthesiser().song(987_654_322, 3 * RATE / 44_100, drums=True, lead=True, bpm=120).audio
    soundfile.write(path, np.stack([audio, 0.5 * audio], axis=1), 44_100)
    return path


def failure(server: Server, **inputs: Any) -> str:
    reply = server.predict(**inputs)
    assert reply["status"] == "failed" and "Traceback" not in str(reply)
    return str(reply["error"])


@pytest.mark.parametrize(("output_format", "bpm"), zip(MIME, (87.5, 60.23, 140, 300), strict=True))
def test_a_loop_and_its_variation_are_exact_in_every_format(
    server: Server, output_format: str, bpm: float, tmp_path: Path
) -> None:
    clips = server.make(**LOOP, bpm=bpm, variations=2, output_format=output_format)
    assert len(clips) == 2 and clips[0].content != clips[1].content
    for clip in clips:
        beats = round(len(clip.samples) * bpm / 60 / RATE)
        length = round(beats * 60 / bpm * RATE)
        assert clip.mime == MIME[output_format] and beats in (1, 2, 3, 4, 6, 8)
        assert clip.samples.shape == (length, 1)
        # ffmpeg, too, leaves out what the coder put before and after (by LAME's tag in an mp3).
        file = tmp_path / f"loop.{output_format}"
        file.write_bytes(clip.content)
        assert len(ffmpeg.run(["-i", str(file), "-f", "s16le", "pipe:1"])) == 2 * length
        if output_format in ("wav", "flac"):
            assert jump_at_the_seam(clip.samples.T) < 1


@pytest.mark.slow
def test_loop_is_reproducible_from_seed_and_number(server: Server, tmp_path: Path) -> None:
    reply = server.predict(**LOOP, bpm=120, variations=3)
    clips = [Clip.from_uri(uri) for uri in reply["output"]]
    assert len(set(reply["metrics"]["seeds"])) == 3 and reply["metrics"]["seed"] == 5
    (tmp_path / "loop.wav").write_bytes(clips[1].content)
    found = recipe.read(tmp_path / "loop.wav")
    assert (found["seed"], found["variations"]) == (5, 2)
    again = server.make(**LOOP, bpm=120, variations=2)
    assert [clip.content for clip in again] == [clip.content for clip in clips[:2]]


@pytest.mark.parametrize("output_format", MIME)
def test_a_remix_is_as_long_as_its_song_in_every_format(server: Server, band_song: Path, output_format: str) -> None:
    clips = server.make(
        **REMIX, input_audio=data_uri(band_song), return_stems=output_format == "flac", output_format=output_format
    )
    assert len(clips) == (3 if output_format == "flac" else 1)
    for clip in clips:
        assert clip.mime == MIME[output_format]
        assert clip.samples.shape == (round(soundfile.info(band_song).frames * RATE / 44_100), 1)
    assert np.abs(clips[0].samples).max() > 0.01
    if output_format == "flac":
        whole, backing, vocals = (clip.samples[:, 0] for clip in clips)
        assert not vocals.any(), "what a separator leaves of instruments is no voice"
        assert np.abs(whole).max() <= 10 ** (-1 / 20) + 1e-3
        assert np.abs(np.corrcoef(whole, backing + vocals)[0, 1]) > 0.9


@pytest.mark.slow
def test_chords_and_their_weight_reach_the_model(server: Server, band_song: Path) -> None:
    song = data_uri(band_song)
    [plain], [strong], [other] = (
        server.make(**REMIX | changes, input_audio=song) for changes in ({}, {"chroma_coefficient": 2}, {"seed": 6})
    )
    assert plain.content not in (strong.content, other.content)


def test_a_part_of_a_song_in_stereo(server: Server, band_song: Path) -> None:
    inputs = REMIX | {"model_version": "stereo-melody", "continuation_start": 0.5, "continuation_end": 1.5}
    [clip] = server.make(**inputs, input_audio=data_uri(band_song))
    assert clip.samples.shape == (RATE, 2)


def test_errors_are_one_sentence(server: Server, band_song: Path) -> None:
    assert "Task 'loop' needs bpm, from 40 to 300" in failure(server, **LOOP)
    assert "duration is the longest" in failure(server, **LOOP | {"duration": 30}, bpm=120)
    assert "The prompt says 90 bpm but bpm is 120" in failure(server, **LOOP | {"prompt": "90 bpm"}, bpm=120)
    assert "Task 'remix' needs input_audio." in failure(server, **REMIX)
    song = data_uri(band_song)
    assert "takes no melody" in failure(server, **REMIX | {"model_version": "small"}, input_audio=song)


@pytest.mark.parametrize("what", ["noise", "a click"])
def test_remix_of_a_click_or_noise(server: Server, what: str, tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, RATE)
    if what == "a click":
        sound = np.zeros(500)
        sound[250] = 1.0
    soundfile.write(tmp_path / "odd.wav", sound, RATE)
    [clip] = server.make(**REMIX, input_audio=data_uri(tmp_path / "odd.wav"))
    assert clip.samples.shape == (len(sound), 1)


def test_silence_is_rejected(server: Server, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    assert "input_audio is silent" in failure(server, **REMIX, input_audio=data_uri(tmp_path / "silence.wav"))
