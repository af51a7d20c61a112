"""Files of loops as others open them: tempo, beats, loop points and key, by readers written from the formats alone.

The loops are cut from synthesised songs in place of a model's output, and go through all that is done to a request's.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.analysis import tracker
from bench.loops import FIRST_SEED, TEMPI
from demo.measure import relative_key
from demo.synth import Synthesiser
from musicgen_service import paths
from musicgen_service.audio import encoding
from musicgen_service.audio.music import key_symbol, pitch_class
from musicgen_service.audio.recipe import MUSIC
from musicgen_service.finished_clip import FinishedClip
from tests.support import tag_readers
from tests.support.fake_music_model import RATE, FakeMusicModel, job_for

import numpy as np
import soundfile
from numpy.typing import NDArray

_MIDDLE_C = 60


@dataclass(frozen=True)
class Opened:
    """What others find in the files of one loop, in all formats.

    Attributes
    ----------
    tempo, beats, points, key : whether they are exactly those that were asked for or, of the key, heard
    true_key : whether the key is the song's, or its relative; None where none was heard clearly
    """

    tempo: bool
    beats: bool
    points: bool
    key: bool
    true_key: bool | None


def opened(count: int) -> list[Opened]:
    """Make and open `count` loops: half at the difficult `TEMPI`, half at tempi drawn from 60 to 180 bpm."""
    with TemporaryDirectory() as folder:
        return [_opened(FIRST_SEED + 2_000_000 + index, index, Path(folder)) for index in range(count)]


def _opened(seed: int, index: int, folder: Path) -> Opened:
    bpm = TEMPI[index // 2 % len(TEMPI)] if index % 2 else round(np.random.default_rng(seed).uniform(60, 180), 2)
    # The synthesiser plays 60 to 180 bpm; other tempi are played at half or double the tempo.
    played = 2 * bpm if bpm < 60 else bpm / 2 if bpm > 180 else bpm

    def play(_attempt: int, seconds: float) -> NDArray[np.float32]:
        return Synthesiser().song(seed, seconds, bpm=played, beats_per_bar=4, drums=True).audio

    [clip] = paths.generate(job_for(FakeMusicModel(play), track=tracker(), task="loop", bpm=bpm, duration=12.0))
    files = {name: folder / f"loop.{name}" for name in encoding.FORMATS}
    made = FinishedClip(clip.samples, RATE, 1, {"task": "loop", "prompt": "a loop", MUSIC: clip.music.facts})
    for file in files.values():
        made.save(file)
    acid, points = tag_readers.acid(files["wav"]), tag_readers.smpl(files["wav"])
    mp3, comments = (
        tag_readers.id3(files["mp3"]),
        [tag_readers.vorbis_comments(files[name]) for name in ("flac", "ogg")],
    )
    frames, key = soundfile.info(files["wav"]).frames, clip.music.key
    named, roots = {mp3.get("TKEY"), *(found.get("KEY") for found in comments)}, {acid.root, points.unity_note}
    song_key = Synthesiser().song(seed, 4.0, bpm=played, beats_per_bar=4, drums=True).key
    return Opened(
        tempo=acid.tempo == np.float32(bpm)
        and mp3["TBPM"] == f"{bpm:.0f}"  # which is a whole number
        and all(float(found["BPM"]) == bpm for found in comments),
        beats=frames == round(acid.beats * 60 / bpm * RATE) and acid.numerator == 4,
        points=(points.start, points.end, points.plays) == (0, frames - 1, 0),
        key=named == {key and key_symbol(key)} and roots == {_MIDDLE_C + (pitch_class(key) if key else 0)},
        true_key=None if key is None else key in (song_key, relative_key(song_key)),
    )
