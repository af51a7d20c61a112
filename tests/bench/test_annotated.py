"""Clips with their truth, and what our analysis hears in them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench import annotated, readers, rendered
from bench.rendered.clip import SOUND, Clip
from demo.grooves import Groove
from demo.synth import HELD_BACK
from demo.synth.song import Chord, Note


def test_recordings_have_a_tempo_or_none_and_some_a_key() -> None:
    clips = {clip.name: clip for clip in annotated.recordings()}
    assert clips["fishin.ogg"].tempo == 177 and clips["fishin.ogg"].key == "Bb major"
    assert clips["whale.ogg"].tempo == 0 and clips["speech_austen.ogg"].tempo == 0


def test_a_synthesised_song_is_heard_as_what_it_is() -> None:
    [song] = annotated.synthesised(1)
    heard = readers.ours(*song.read())
    assert heard.tempo == pytest.approx(song.tempo, rel=0.01) and heard.key == song.key
    assert heard.chords and heard.downbeats is not None


def test_grooves_have_the_tempo_of_their_beats_and_are_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def groove(seed: int) -> Groove:
        made.append(seed)
        return Groove(np.zeros(44_100, np.float32), np.arange(0, 2, 0.5), np.array([0.0]), "4/4")

    monkeypatch.setattr(annotated, "groove", groove)
    clips = list(annotated.grooves(2))
    assert [clip.tempo for clip in clips] == [120, 120] and clips[0].read()[1] == 44_100
    assert min(made) >= HELD_BACK and len(set(made)) == 2


def test_a_rendered_clip_comes_back_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip(
        name="0001",
        kind="song",
        split=rendered.HELD_BACK,
        composer="somebody",
        title="a tune",
        metre="3/4",
        beats_per_bar=3,
        tempo=120.0,
        timing="steady",
        feel="jazz waltz",
        figure="halves",
        sound={"mp3": 48.0},
        key="A minor",
        beats=np.arange(0, 2, 0.5),
        downbeats=np.array([0.0, 1.5]),
        chords=[Chord(0.0, 2.0, "A:min")],
        melody=[Note(0.0, 0.5, 69)],
        bass=[],
        detuning=0.1,
        folder=tmp_path,
    )
    clip.save()
    soundfile.write(tmp_path / f"0001{SOUND}", np.zeros(44_100), 22_050)
    [loaded] = rendered.load(rendered.HELD_BACK, folder=tmp_path)
    assert loaded.__dict__ | {"beats": 0, "downbeats": 0} == clip.__dict__ | {"beats": 0, "downbeats": 0}
    assert rendered.load(rendered.TRAINING, folder=tmp_path) == [] == rendered.load(kind="solo", folder=tmp_path)
    monkeypatch.setattr(rendered, "load", lambda _split: [loaded])
    [same] = annotated.rendered_clips(rendered.HELD_BACK)
    assert same.group == "song, 3/4, jazz waltz, steady" and same.read()[0].shape == (44_100,)
