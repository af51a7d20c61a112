"""A clip tells its tempo, its key and the bars of a loop in the terms of its format, read back by other readers."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_service.audio import encoding, recipe
from musicgen_service.audio.encoding import BIT_DEPTHS, FORMATS
from musicgen_service.audio.music import Music
from musicgen_service.requests.fields import MAX_TEXT_LENGTH
from tests.support import tag_readers
from tests.support.sounds import RATE, tone

LOOP = Music(124.0, "F# minor", beats=16, beats_per_bar=4)
SHORT = tone(1.2345)[:, :39_503]


def written(path: Path, music: Music, bit_depth: int = 16, samples: np.ndarray = SHORT, **inputs: Any) -> Path:
    contents = {"task": "loop", "prompt": "deep house", "music": music.facts} | inputs
    encoding.write(samples, RATE, path, recipe.tags(contents), bit_depth)
    return path


@pytest.mark.parametrize("bits", BIT_DEPTHS["wav"])
@pytest.mark.parametrize("samples", [39_503, 39_504])
def test_a_wav_loop_has_tempo_bars_root_and_loop_points(tmp_path: Path, bits: int, samples: int) -> None:
    path = written(tmp_path / "loop.wav", LOOP, bits, SHORT[:, :samples] if samples < 39_504 else tone(2)[:, :samples])
    # Not a one-shot; has a root, may be stretched; roots count from middle C, and F# is six semitones above it.
    assert tag_readers.acid(path) == (0x02 | 0x04 | 0x10, 66, 16, 4, 4, 124.0)
    assert tag_readers.smpl(path) == (round(1e9 / RATE), 66, 0, 0, samples - 1, 0)
    assert soundfile.info(path).frames == samples and recipe.read(path)["music"]["key"] == "F# minor"


def test_a_loop_without_a_key_has_no_root(tmp_path: Path) -> None:
    path = written(tmp_path / "loop.wav", Music(97.3, beats=12, beats_per_bar=3))
    tempo = struct.unpack("<f", struct.pack("<f", 97.3))[0]
    assert tag_readers.acid(path) == (0x04 | 0x10, 60, 12, 4, 3, tempo)
    assert tag_readers.smpl(path).unity_note == 60


@pytest.mark.parametrize("music", [Music(), Music(124.0, "F# minor")])
def test_only_loops_have_loop_points(tmp_path: Path, music: Music) -> None:
    assert {"acid", "smpl"} & tag_readers.chunks(written(tmp_path / "clip.wav", music)).keys() == set()


@pytest.mark.parametrize(("tempo", "whole"), [(124.0, "124"), (97.3, "97")])
@pytest.mark.parametrize("key", [("F# minor", "F#m"), ("Eb major", "Eb"), ("C major", "C")])
def test_an_mp3_has_tempo_and_key(tmp_path: Path, tempo: float, whole: str, key: tuple[str, str]) -> None:
    path = written(tmp_path / "clip.mp3", Music(tempo, key[0]))
    frames = tag_readers.id3(path)
    assert (frames["TBPM"], frames["TKEY"], frames["TIT2"]) == (whole, key[1], "deep house")
    told = tag_readers.by_ffmpeg(path)
    assert (told["tbpm"], told["tkey"]) == (whole, key[1])
    assert recipe.read(path)["music"]["tempo"] == tempo  # exactly


@pytest.mark.parametrize("name", ["flac", "ogg"])
@pytest.mark.parametrize(
    ("music", "comments"),
    [
        (Music(124.0, "F# minor"), {"BPM": "124", "KEY": "F#m", "INITIALKEY": "F#m"}),
        (Music(97.3), {"BPM": "97.3"}),
        (Music(40.0), {"BPM": "40"}),
        (Music(key="C major"), {"KEY": "C", "INITIALKEY": "C"}),
        (Music(), {}),
    ],
)
def test_flac_and_ogg_have_tempo_and_key(tmp_path: Path, name: str, music: Music, comments: dict[str, str]) -> None:
    path = written(tmp_path / f"clip.{name}", music)
    found = tag_readers.vorbis_comments(path)
    assert {field: found.get(field) for field in ("BPM", "KEY", "INITIALKEY") if field in found} == comments
    assert "DATE" not in found and found["TITLE"] == "deep house"
    assert json.loads(found["COMMENT"])["prompt"] == "deep house"
    told = tag_readers.by_ffmpeg(path)
    assert {field.upper(): told[field] for field in ("bpm", "key", "initialkey") if field in told} == comments


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("samples", [100, 39_503])
def test_tags_change_no_sample(tmp_path: Path, name: str, samples: int) -> None:
    sound = SHORT[:, :samples]
    tagged = written(tmp_path / f"a.{name}", LOOP, samples=sound)
    plain = written(tmp_path / f"b.{name}", Music(), samples=sound)
    assert np.array_equal(soundfile.read(tagged)[0], soundfile.read(plain)[0])


@pytest.mark.parametrize("name", FORMATS)
def test_the_longest_recipe_has_room_beside_them(tmp_path: Path, name: str) -> None:
    for prompt in ("🎷" * MAX_TEXT_LENGTH, "\x01" * MAX_TEXT_LENGTH, "OggS\x03vorbis" * 300):
        path = written(tmp_path / f"clip.{name}", LOOP, prompt=prompt)
        assert recipe.read(path)["prompt"] == prompt and len(soundfile.read(path)[0]) == 39_503
        if name in ("flac", "ogg"):
            assert tag_readers.vorbis_comments(path)["BPM"] == "124"
