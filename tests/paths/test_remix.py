"""Remixes of known songs with a known backing: aligned, in key and balanced, and generation never fails."""

from typing import Any

import numpy as np
import pytest

from demo.synth import Song, Synthesiser
from musicgen_service import paths
from musicgen_service.analysis import beats
from musicgen_service.audio.lufs import integrated_loudness
from musicgen_service.audio.reading import Audio
from musicgen_service.models.music_model import MelodySpan
from musicgen_service.paths.job import Clip
from tests.support.fake_music_model import RATE, FakeMusicModel, Play, job_for
from tests.support.sounds import tone

SEED = 77


def song_of(seconds: float, **choices: Any) -> Song:
    return Synthesiser().song(SEED, seconds, **{"bpm": 100, "beats_per_bar": 4, "drums": True, "lead": True, **choices})


def backing_of(bpm: float, start: float = 0.0, **choices: Any) -> Play:
    choices = {"beats_per_bar": 4, "drums": True, "lead": False} | choices
    return lambda seed, seconds: Synthesiser().song(seed % 9973, seconds, bpm=bpm, start=start, **choices).audio


def split(song: Song) -> Any:
    """A separation that uses the lead as vocals."""
    return lambda _audio: (
        Audio(song.stems["lead"][None], RATE),
        Audio((song.audio - song.stems["lead"])[None], RATE),
    )


def remixes(model: FakeMusicModel, song: Song, **inputs: Any) -> list[Clip]:
    request: dict[str, Any] = {"prompt": "techno", "return_stems": True} | inputs
    return list(paths.generate(job_for(model, Audio(song.audio[None], RATE), split(song), task="remix", **request)))


def parts(clips: list[Clip]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    assert [clip.part for clip in clips] == ["", "backing", "vocals"]
    whole, backing, vocals = (clip.samples for clip in clips)
    return whole, backing, vocals


@pytest.mark.parametrize(("bpm", "start"), [(100, 0.0), (100, 2.1), (97, 0.2), (103, 2.2)])
def test_backing_is_aligned_with_the_songs_downbeats(bpm: float, start: float) -> None:
    song = song_of(24)
    seconds = 24 + 1 + 2.4  # a second and a bar more than the song
    backing = Synthesiser().song(5, seconds, bpm=bpm, start=start, beats_per_bar=4, drums=True, lead=False)
    grids = {song.audio.size: song, round(seconds * RATE): backing}

    def known(samples: np.ndarray, _rate: int, _tempo: float | None = None) -> beats.BeatGrid:
        true = grids[samples.shape[-1]]
        return beats.BeatGrid(true.bpm, true.beats, true.downbeats, 4, 1.0, metre_confidence=1.0)

    reference = FakeMusicModel(lambda _seed, seconds: backing.audio[: round(seconds * RATE)])
    _, aligned, _ = parts(remixes(reference, song, track=known))
    grid = beats.track(aligned, RATE, song.bpm)
    distance = np.abs(song.downbeats[:, None] - grid.downbeats).min(axis=1)
    assert (distance[1:] < 0.02).all() and distance[0] < 0.03  # of a hit on the first sample the beginning is not heard


@pytest.mark.parametrize("seconds", [3.0, 10.0, 25.7])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_remix_is_as_long_as_its_song(seconds: float, channels: int) -> None:
    for clip in remixes(FakeMusicModel(backing_of(104), channels), song_of(seconds)):
        assert clip.samples.shape == (channels, round(seconds * RATE))
        assert np.isfinite(clip.samples).all() and np.abs(clip.samples).max() <= 10 ** (-1 / 20) + 1e-6


def test_a_song_at_another_rate_has_the_same_length() -> None:
    song = Audio(tone(3.3, 2, rate=44_100), 44_100)
    job = job_for(FakeMusicModel(backing_of(100)), song, lambda audio: (audio, audio), task="remix", prompt="x")
    [clip] = paths.generate(job)
    assert clip.samples.shape[1] == round(song.samples.shape[1] * RATE / 44_100)


def test_vocals_are_kept_with_the_songs_balance() -> None:
    song = song_of(12)
    whole, backing, vocals = parts(remixes(FakeMusicModel(backing_of(100)), song))
    voice, rest = song.stems["lead"], song.audio - song.stems["lead"]
    assert np.corrcoef(vocals[0], voice)[0, 1] > 0.999
    balance = integrated_loudness(vocals, RATE) - integrated_loudness(backing, RATE)
    expected = integrated_loudness(voice[None], RATE) - integrated_loudness(rest[None], RATE)
    assert balance == pytest.approx(expected, abs=0.5)
    assert integrated_loudness(whole, RATE) == pytest.approx(-14, abs=0.2)


def test_mono_vocals_are_centred_in_a_stereo_backing() -> None:
    whole, backing, vocals = parts(remixes(FakeMusicModel(backing_of(100), channels=2), song_of(8)))
    assert np.array_equal(vocals[0], vocals[1])
    assert not np.array_equal(backing[0], backing[1])
    assert not np.array_equal(whole[0], whole[1])


def test_without_return_stems_only_the_remix_is_returned() -> None:
    assert [clip.part for clip in remixes(FakeMusicModel(backing_of(100)), song_of(4), return_stems=False)] == [""]


def test_songs_tempo_is_added_to_the_prompt() -> None:
    def description(**inputs: Any) -> str:
        model = FakeMusicModel(backing_of(100))
        remixes(model, song_of(8), **inputs)
        [text] = {request.condition.text for group in model.asked for request in group}
        return str(text)

    assert description() == "techno, 100 bpm"
    assert description(prompt=None) == "100 bpm"
    assert description(prompt="techno, 98 bpm") == "techno, 98 bpm"
    assert description(bpm=50.0) == "techno, 50 bpm"


def reading(tempo: float, confidence: float) -> Any:
    """A tracker that hears a tempo with a confidence, whatever is played."""
    times = np.arange(0, 12, 60 / tempo)
    return lambda *_: beats.BeatGrid(tempo, times, times[::4], 4, confidence, metre_confidence=1.0)


@pytest.mark.parametrize(
    ("track", "inputs", "description", "note"),
    [
        (
            reading(100, 0.1),
            {},
            "techno",
            "The beats of input_audio are unclear (confidence 0.10), so the new backing has a tempo of its own and",
        ),
        (
            reading(100, 0.1),
            {"bpm": 90.0},
            "techno, 90 bpm",
            "The beats of input_audio are unclear (confidence 0.10), so the new backing has 90 bpm and is not aligned.",
        ),
        (
            reading(130, 0.9),
            {"prompt": "techno, 100 bpm"},
            "techno, 100 bpm",
            "input_audio seems to have 130 bpm, so the new backing with 100 bpm is not aligned.",
        ),
    ],
)
def test_a_reading_that_cannot_be_trusted_is_not_followed(
    track: Any, inputs: dict[str, Any], description: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = FakeMusicModel(backing_of(103, start=0.2))
    _, kept, _ = parts(remixes(model, song_of(12), track=track, **inputs))
    assert {request.condition.text for group in model.asked for request in group} == {description}
    assert note in capsys.readouterr().err
    plain = model.play(5, 13.0)[: kept.shape[1]]
    assert np.corrcoef(kept[0], plain)[0, 1] > 0.99


def test_a_backing_with_unclear_beats_is_not_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    model = FakeMusicModel(backing_of(103, start=0.2))
    clear, unclear = reading(100, 0.9), reading(103, 0.03)

    def track(samples: np.ndarray, _rate: int, tempo: float | None) -> beats.BeatGrid:
        grid: beats.BeatGrid = (clear if tempo is None else unclear)(samples)
        return grid

    _, kept, _ = parts(remixes(model, song_of(12), track=track))
    assert "The beats of the new backing are unclear, so it is not aligned" in capsys.readouterr().err
    plain = model.play(5, 16.0)[round(1.2 * RATE) :]  # half a bar more is made before the song begins
    assert np.corrcoef(kept[0], plain[: kept.shape[1]])[0, 1] > 0.99


def test_every_window_has_its_own_chords() -> None:
    song = song_of(24)
    model = FakeMusicModel(backing_of(100), window=500, melody_span=MelodySpan(78, 10.0))
    remixes(model, song, chroma_coefficient=1.5)
    starts = np.arange(len(model.asked)) * 6.0
    assert len(starts) == 4
    early = 1.2  # half a bar
    triads = {"maj": (0, 4, 7), "min": (0, 3, 7)}
    names = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
    right = []
    for start, [request] in zip(starts, model.asked, strict=True):
        assert request.condition.chroma is not None
        chroma = request.condition.chroma.numpy()
        assert chroma.shape == (12, 78) and set(np.unique(chroma)) <= {0.0, 1.5}
        for frame in range(78):
            at = (start - early + (frame + 0.5) * 10 / 78) % 24
            label = next(chord.label for chord in song.chords if chord.start <= at < chord.end)
            root, _, quality = label.partition(":")
            if quality in triads:
                expected = {(names.index(root) + step) % 12 for step in triads[quality]}
                right.append(set(np.flatnonzero(chroma[:, frame])) == expected)
    assert np.mean(right) > 0.75


def test_variations_are_generated_in_one_batch_per_window() -> None:
    model = FakeMusicModel(backing_of(100), window=500, melody_span=MelodySpan(78, 10.0))
    clips = remixes(model, song_of(12), variations=3, return_stems=False)
    assert [len(group) for group in model.asked] == [3, 3]
    assert [clip.number for clip in clips] == [1, 2, 3]
    assert len({clip.samples.tobytes() for clip in clips}) == 3


def test_a_backing_begins_where_its_bars_are_the_songs() -> None:
    song, model = song_of(16), FakeMusicModel(backing_of(100, start=1.4))  # a bar is 2.4 s: the nearest are 1 s apart
    _, kept, _ = parts(remixes(model, song, beat_sync_threshold=0.05))
    grid = beats.track(kept, RATE, song.bpm)
    assert (np.abs(song.downbeats[:, None] - grid.downbeats).min(axis=1) < 0.02).mean() >= 0.95


@pytest.mark.parametrize(("tempo", "per_bar", "first"), [(100, 4, 2), (100, 3, 1), (200, 4, 0), (50, 4, 1)])
def test_a_backing_whose_beats_or_bars_are_read_in_another_way_is_aligned(tempo: int, per_bar: int, first: int) -> None:
    song = song_of(24)
    times = 0.31 + np.arange(0, 27, 60 / tempo)
    of_backing = beats.BeatGrid(tempo, times, times[first::per_bar], per_bar, 1.0)
    of_song = beats.BeatGrid(100, song.beats, song.downbeats, 4, 1.0, metre_confidence=1.0)

    def known(samples: np.ndarray, _rate: int, asked: float | None = None) -> beats.BeatGrid:
        return of_song if asked is None else of_backing

    def play(_seed: int, seconds: float) -> np.ndarray:
        ticks = np.zeros(round(seconds * RATE), np.float32)
        for time in times[first::per_bar][:1] + np.arange(-10, 10) * 2.4:
            if 0 < time < seconds:
                ticks[round(time * RATE)] = 1.0
        return ticks

    _, aligned, _ = parts(remixes(FakeMusicModel(play), song, track=known))
    found = np.flatnonzero(np.abs(aligned[0]) > 0.5 * np.abs(aligned).max()) / RATE
    assert np.abs(song.downbeats[:-1, None] - found).min(axis=1).max() < 0.02


def test_unclear_bars_of_a_song_are_told_and_the_likeliest_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    song, times = song_of(24), np.arange(0.2, 28, 0.6)
    of_song = beats.BeatGrid(100, song.beats, song.beats[3::4], 4, 1.0, metre_confidence=0.3)
    of_backing = beats.BeatGrid(100, times, times[1::4], 4, 1.0, metre_confidence=1.0)

    def known(_samples: np.ndarray, _rate: int, asked: float | None = None) -> beats.BeatGrid:
        return of_song if asked is None else of_backing

    def play(_seed: int, seconds: float) -> np.ndarray:
        ticks = np.zeros(round(seconds * RATE), np.float32)
        ticks[round(times[21] * RATE)] = 1.0
        return ticks

    _, aligned, _ = parts(remixes(FakeMusicModel(play), song, track=known))
    found = np.abs(aligned[0]).argmax() / RATE
    assert np.abs(of_song.downbeats - found).min() < 0.02
    assert "The bars of input_audio are unclear (confidence 0.30), so" in capsys.readouterr().err


ODD_SONGS = {
    "no drums": song_of(8, drums=False),
    "a waltz": song_of(8, beats_per_bar=3),
    "three seconds": song_of(3),
    "a tenth of a second": song_of(0.1),
}


@pytest.mark.parametrize("name", ODD_SONGS)
def test_unusual_songs(name: str) -> None:
    song = ODD_SONGS[name]
    whole, _, _ = parts(remixes(FakeMusicModel(backing_of(100)), song))
    assert whole.shape == (1, song.audio.size) and whole.any() and np.isfinite(whole).all()


@pytest.mark.parametrize("silent", ["song", "voice", "rest"])
def test_songs_with_silent_parts(silent: str, capsys: pytest.CaptureFixture[str]) -> None:
    song = song_of(6)
    nothing, voice, rest = (np.zeros((1, 6 * RATE), np.float32), song.stems["lead"][None], song.stems["chords"][None])
    voice, rest = {"song": (nothing, nothing), "voice": (nothing, rest), "rest": (voice, nothing)}[silent]
    job = job_for(
        FakeMusicModel(backing_of(100)),
        Audio(voice + rest, RATE),
        lambda _audio: (Audio(voice, RATE), Audio(rest, RATE)),
        task="remix",
        return_stems=True,
    )
    whole, backing, vocals = parts(list(paths.generate(job)))
    assert whole.any() and backing.any() and np.isfinite(whole).all()
    log = capsys.readouterr().err
    assert vocals.any() == (silent == "rest")
    assert ("No vocals were found" in log) == (silent != "rest")
    assert ("No beats were found in input_audio" in log) == (silent == "song")


def test_a_backing_without_beats_is_not_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    model = FakeMusicModel(lambda _seed, seconds: np.zeros(round(seconds * RATE), np.float32))
    whole, backing, vocals = parts(remixes(model, song_of(6)))
    assert "No beats were found in the new backing, so it is not aligned" in capsys.readouterr().err
    assert vocals.any() and whole.any() and not backing.any()
