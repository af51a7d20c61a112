"""Loops of known music: exact in length and seamless, and generation never fails."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from demo.synth import Synthesiser
from demo.synth.drums import add_hit
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.audio.lufs import integrated_loudness
from musicgen_service.paths import loop, takes
from musicgen_service.paths.grid import KICK_REACH
from musicgen_service.paths.job import Clip, Job
from musicgen_service.paths.loop import ATTEMPTS, BATCH_SIZE
from tests.support.fake_music_model import HOP, RATE, FakeMusicModel, Play, job_for, jump_at_the_seam
from tests.support.sounds import tone

TEMPI = (40, 60.23, 87.5, 140, 174, 300)


def music(bpm: float, start: float = 0.0, **choices: Any) -> Play:
    """Songs of a tempo, or of its half or double where the synthesiser does not support it."""
    synthesised = bpm * 2 if bpm < 60 else bpm / 2 if bpm > 180 else bpm
    choices = {"beats_per_bar": 4, "drums": True} | choices
    return lambda seed, seconds: Synthesiser().song(seed % 9973, seconds, bpm=synthesised, start=start, **choices).audio


def noise(seed: int, seconds: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def loops(model: FakeMusicModel, **inputs: Any) -> list[Clip]:
    return list(loop.generate(job_for(model, task="loop", **inputs)))


def record_takes(monkeypatch: pytest.MonkeyPatch) -> list[takes.Take]:
    """A list to which every take chosen from now on is appended."""
    chosen: list[takes.Take] = []
    first_take = loop.first_take

    def recording(*arguments: Any) -> takes.Take:
        chosen.append(first_take(*arguments))
        return chosen[-1]

    monkeypatch.setattr(loop, "first_take", recording)
    return chosen


@pytest.mark.parametrize("bpm", TEMPI)
def test_loop_length_is_exact_bars_at_the_tempo(bpm: float) -> None:
    model = FakeMusicModel(music(bpm))
    clips = loops(model, bpm=bpm, variations=2)
    [length] = {clip.samples.shape[1] for clip in clips}
    beats = round(length * bpm / 60 / RATE)
    assert length == round(beats * 60 / bpm * RATE) <= 8 * RATE
    assert beats in (4, 8, 16, 32) and 2 * beats * 60 / bpm > 8
    assert len(model.asked) == 2, "the first attempt was good"


@pytest.mark.parametrize("ratio", [0.9, 0.97, 1.04, 1.1])
def test_music_off_the_tempo_is_stretched(ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = record_takes(monkeypatch)
    model = FakeMusicModel(music(100 * ratio, start=1.3))
    [clip] = loops(model, bpm=100)
    assert clip.samples.shape == (1, round(8 * 0.6 * RATE)) and len(model.asked) == 1
    bar = 240 / (100 * ratio)
    early = (chosen[0].cut.start + 1.3) % bar
    assert min(early, bar - early) < 0.03, "it starts on a downbeat"
    assert chosen[0].cut.end - chosen[0].cut.start == pytest.approx(2 * bar, abs=0.03)


@pytest.mark.parametrize("start", [0.0, 0.9])
@pytest.mark.parametrize(("seed", "bpm"), [(3, 87.5), (4, 120), (6, 140), (8, 174)])
def test_seam_adds_no_onset(seed: int, bpm: float, start: float, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = record_takes(monkeypatch)
    clips = loops(FakeMusicModel(music(bpm * 1.03, start)), bpm=bpm, seed=seed, variations=3)
    assert max(jump_at_the_seam(clip.samples) for clip in clips) < 1
    seam = chosen[0].seam
    assert seam.join <= seam.beat and seam.boundary <= 1.1 * seam.uncut


def test_loop_starts_on_a_detected_downbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = record_takes(monkeypatch)
    detected = np.arange(0.65, 12, 0.5)
    model = FakeMusicModel(noise)
    [clip] = loops(model, bpm=120, track=lambda *_: BeatGrid(120, detected, detected[3::4], 4, 1.0, "4/4", 1.0))
    assert len(model.asked) == 1 and clip.samples.shape == (1, 8 * RATE)
    assert chosen[0].cut.start == pytest.approx(detected[3], abs=KICK_REACH)


def one_kick(_seed: int, seconds: float) -> np.ndarray:
    """A tone, and a kick at 7 s."""
    sound = (0.01 * np.sin(np.arange(round(seconds * RATE)) * 2 * np.pi * 2000 / RATE)).astype(np.float32)
    add_hit(sound, "electronic", "kick", 7 * RATE, 1.0)
    return sound


def test_a_later_bar_is_chosen_where_it_alone_begins_on_a_kick(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = record_takes(monkeypatch)
    beats = np.arange(0, 17, 0.25)
    heard = BeatGrid(240, beats, beats[::4], 4, 1.0, metre_confidence=1.0)
    assert loops(FakeMusicModel(one_kick), bpm=240, duration=15.9, track=lambda *_: heard)
    assert chosen[0].cut.start == pytest.approx(7, abs=0.02)


@pytest.mark.parametrize(("confidence", "start"), [(0.3, 7.0), (0.7, 0.25)])
def test_a_beat_with_a_kick_is_chosen_where_bars_are_unclear_and_begin_on_none(
    confidence: float, start: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = record_takes(monkeypatch)
    beats = np.arange(0, 17, 0.25)
    heard = BeatGrid(240, beats, beats[1:2], 4, 1.0, metre_confidence=confidence)
    assert loops(FakeMusicModel(one_kick), bpm=240, duration=15.9, track=lambda *_: heard)
    assert chosen[0].cut.start == pytest.approx(start, abs=0.02)
    log = capsys.readouterr().err
    assert ("The bars of the music are unclear (confidence 0.30), so the loop may begin on" in log) == (start == 7)


def test_a_waltz_has_bars_of_three() -> None:
    [clip] = loops(FakeMusicModel(music(120, beats_per_bar=3)), bpm=120, seed=2)
    assert clip.samples.shape[1] / RATE * 2 in (12, 6)


def test_stereo_loops() -> None:
    for clip in loops(FakeMusicModel(music(120), channels=2), bpm=120, variations=2):
        assert clip.samples.shape == (2, 8 * RATE)
        assert not np.array_equal(clip.samples[0], clip.samples[1])


@pytest.mark.parametrize(("bpm", "duration", "beats"), [(40, 2, 1), (40, 4, 2), (300, 20, 64), (120, 20, 32)])
def test_duration_is_the_maximum_length(bpm: float, duration: float, beats: int) -> None:
    [clip] = loops(FakeMusicModel(music(bpm)), bpm=bpm, duration=float(duration))
    assert clip.samples.shape[1] == round(beats * 60 / bpm * RATE) <= duration * RATE


def test_music_without_the_tempo_is_regenerated(capsys: pytest.CaptureFixture[str]) -> None:
    model = FakeMusicModel(lambda seed, seconds: music(90 if seed == 5 else 120)(seed, seconds))
    [clip] = loops(model, bpm=120)
    assert len(model.asked) == 2 and clip.seed == 5
    log = capsys.readouterr().err
    assert "attempt 1 of 3 (seed 5) has no whole bars of 120 bpm: heard" in log and "warning" not in log
    again = loops(FakeMusicModel(model.play), bpm=120)
    assert np.array_equal(again[0].samples, clip.samples)


@pytest.mark.parametrize("play", [noise, lambda _seed, seconds: tone(seconds)[0]], ids=["noise", "a chord"])
@pytest.mark.parametrize("bpm", TEMPI)
def test_any_sound_gives_an_exact_seamless_loop(play: Play, bpm: float) -> None:
    model = FakeMusicModel(play)
    clips = loops(model, bpm=bpm, variations=3)
    assert len(model.asked) <= ATTEMPTS + 1
    for clip in clips:
        beats = round(clip.samples.shape[1] * bpm / 60 / RATE)
        assert clip.samples.shape[1] == round(beats * 60 / bpm * RATE)
        assert jump_at_the_seam(clip.samples) < 1


def test_fixed_grid_is_used_after_all_attempts_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    model = FakeMusicModel(music(90))
    [clip] = loops(model, bpm=120)
    assert clip.samples.shape[1] == 8 * RATE and jump_at_the_seam(clip.samples) < 1
    log = capsys.readouterr().err
    assert len(model.asked) == ATTEMPTS
    assert "note: No attempt keeps 120 bpm, so the loop is cut on that tempo's own grid" in log


def test_silence_gives_silent_loops() -> None:
    clips = loops(
        FakeMusicModel(lambda _seed, seconds: np.zeros(round(seconds * RATE), np.float32)), bpm=120, variations=2
    )
    assert [clip.samples.shape for clip in clips] == [(1, 8 * RATE)] * 2


def test_tempo_is_in_the_description_once() -> None:
    for prompt, description in (("house", "house, 120 bpm"), ("house, 120 bpm", "house, 120 bpm")):
        model = FakeMusicModel(music(120))
        loops(model, bpm=120, prompt=prompt, variations=2)
        assert {request.condition.text for group in model.asked for request in group} == {description}


def test_variations_continue_the_last_four_beats_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = record_takes(monkeypatch)
    model = FakeMusicModel(music(120))
    loops(model, bpm=120, variations=4)
    first, others = model.asked
    assert [len(first), len(others)] == [1, 3]
    take = chosen[0]
    end = round(take.cut.start * RATE) + round((take.cut.end - take.cut.start) * RATE)
    for request in others:
        assert request.prefix_tokens is not None
        assert request.prefix_tokens.shape[1] * HOP / RATE == pytest.approx(2.0, abs=0.03)
        lead = model.decode(request.prefix_tokens).numpy()
        assert np.abs(lead - take.sound[:, end - lead.shape[1] : end]).max() < 1e-4


@pytest.mark.slow
def test_variations_have_the_loudness_of_the_first_loop() -> None:
    def varying_level(seed: int, seconds: float) -> np.ndarray:
        return music(120)(seed, seconds) * (0.1 + (seed % 7) / 8)

    for strategy in ("loudness", "peak", "rms", "clip"):
        clips = loops(FakeMusicModel(varying_level), bpm=120, variations=4, normalization_strategy=strategy)
        levels = [integrated_loudness(clip.samples, RATE) for clip in clips]
        assert max(levels) - min(levels) < 0.2


def test_variation_depends_only_on_seed_and_number() -> None:
    few, many = (loops(FakeMusicModel(music(120)), bpm=120, variations=count) for count in (2, 4))
    for one, other in zip(few, many, strict=False):
        assert (one.seed, one.number) == (other.seed, other.number)
        assert np.array_equal(one.samples, other.samples)
    assert len({clip.samples.tobytes() for clip in many}) == 4


def test_loops_are_yielded_before_the_next_batch_is_generated() -> None:
    model = FakeMusicModel(music(174))
    clips: Iterator[Clip] = loop.generate(job_for(model, task="loop", bpm=174, duration=2.0, variations=BATCH_SIZE + 3))
    next(clips)
    assert [len(group) for group in model.asked] == [1]
    list(islice(clips, BATCH_SIZE))
    assert [len(group) for group in model.asked] == [1, BATCH_SIZE]
    assert len(list(clips)) == 2
    assert [len(group) for group in model.asked] == [1, BATCH_SIZE, 2]


def test_failed_variation_does_not_affect_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = loops(FakeMusicModel(music(120)), bpm=120, variations=4)
    decode_tokens = Job.decode_tokens

    def fail_on_the_third(job: Job, tokens: Any, seed: int) -> np.ndarray:
        if seed == job.seeds[2]:
            raise RuntimeError("the decoder gave up")
        return decode_tokens(job, tokens, seed)

    monkeypatch.setattr(Job, "decode_tokens", fail_on_the_third)
    clips = loops(FakeMusicModel(music(120)), bpm=120, variations=4)
    assert [clip.number for clip in clips] == [1, 2, 4]
    log = capsys.readouterr().err
    assert "variation 3 failed: RuntimeError: the decoder gave up" in log
    assert "note: Variation 3 failed and is left out." in log
    for clip in clips:
        assert np.array_equal(clip.samples, expected[clip.number - 1].samples)


def test_failed_batch_is_generated_one_by_one() -> None:
    expected = loops(FakeMusicModel(music(120)), bpm=120, variations=4)

    class OutOfMemoryModel(FakeMusicModel):
        def generate_tokens(self, requests: Any, on_step: Any) -> Any:
            if len(requests) > 1:
                raise MemoryError("not enough for so many")
            return super().generate_tokens(requests, on_step)

    clips = loops(OutOfMemoryModel(music(120)), bpm=120, variations=4)
    assert [clip.number for clip in clips] == [1, 2, 3, 4]
    for one, other in zip(clips, expected, strict=True):
        assert np.array_equal(one.samples, other.samples)


def test_progress_is_monotonic_and_ends_at_one() -> None:
    shares: list[float] = []
    job = job_for(FakeMusicModel(music(120)), task="loop", bpm=120, variations=12)
    job = Job(**{**vars(job), "report": shares.append})
    list(loop.generate(job))
    assert shares == sorted(shares) and shares[-1] == 1
