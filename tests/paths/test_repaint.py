"""Repaint: a part is made anew, the best candidate is kept, and the rest of the recording stays as it is to the bit."""

from typing import Any

import numpy as np
import pytest
import torch

from musicgen_service import notes, paths
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.audio.reading import Audio
from musicgen_service.paths import candidates, repaint
from musicgen_service.paths.candidates import Surroundings
from musicgen_service.paths.job import Clip
from musicgen_service.seeds import derive
from tests.support.fake_music_model import RATE, FakeMusicModel, job_for
from tests.support.sounds import tone


def no_beats(_samples: np.ndarray, _rate: int, _tempo: float | None) -> BeatGrid:
    return BeatGrid()


def model_of(channels: int = 1, window: int = 1500) -> FakeMusicModel:
    """A model whose music is as loud as its seed says."""
    return FakeMusicModel(
        lambda seed, length: tone(length, amplitude=0.05 + seed % 11 / 50)[0], channels, window=window
    )


def repainted(model: FakeMusicModel, source: Audio, start: float, end: float | None, **more: Any) -> list[Clip]:
    inputs: dict[str, Any] = {"track": no_beats, "prompt": "rock", **more}
    job = job_for(model, source, task="repaint", continuation_start=start, continuation_end=end, **inputs)
    return list(paths.generate(job))


def noise(seconds: float, rate: int, channels: int, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).normal(0, 0.1, (channels, round(seconds * rate)))
    return Audio(samples.astype(np.float32), rate)


CASES = {
    "in the middle": (1.0, 3.0),
    "between frames": (1.2345, 3.4567),
    "at the start": (0.0, 2.0),
    "to the end": (4.0, None),
    "to an end beyond the file": (4.0, 30.0),
    "to just before the end": (4.0, 6.985),
    "from just after the start": (0.005, 2.0),
    "half a second": (2.0, 2.5),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (32_000, 1), (48_000, 1), (22_050, 2), (11_025, 1)])
@pytest.mark.parametrize("sides", [1, 2])
def test_samples_outside_the_part_are_those_of_the_recording(case: str, rate: int, channels: int, sides: int) -> None:
    start, end = CASES[case]
    source = noise(7, rate, channels)
    [clip] = repainted(model_of(sides), source, start, end)
    assert clip.rate == rate and clip.samples.shape == source.samples.shape and clip.samples.dtype == np.float32
    reach = repaint.FADE + 0.02  # a crossfade, and less than a frame
    first, last = max(0, round((start - reach) * rate)), round((min(end or 7, 7) + reach) * rate)
    assert np.array_equal(clip.samples[:, :first], source.samples[:, :first])
    assert np.array_equal(clip.samples[:, last:], source.samples[:, last:])
    inside = slice(round((start + 0.02) * rate), round((min(end or 7, 7) - 0.02) * rate))
    assert np.abs(clip.samples[:, inside] - source.samples[:, inside]).mean() > 0.05
    assert np.isfinite(clip.samples).all() and np.abs(clip.samples).max() <= 1


def test_the_recording_is_not_normalised() -> None:
    source = Audio(tone(6, amplitude=0.01), RATE)
    [clip] = repainted(model_of(), source, 2, 4, normalization_strategy="peak")
    assert np.array_equal(clip.samples[:, :RATE], source.samples[:, :RATE])


def test_the_part_goes_on_from_what_is_before_it() -> None:
    model, source = model_of(), noise(40, RATE, 1)
    repainted(model, source, 20, 25)
    [requests] = model.asked
    assert len(requests) == candidates.COUNT
    for request in requests:
        assert request.length == 600 + 250 and request.prefix_tokens is not None
        assert torch.equal(
            request.prefix_tokens, model.encode(torch.from_numpy(source.samples[:, 8 * RATE : 20 * RATE]))
        )


def test_by_likelihood_the_candidate_is_kept_after_which_the_rest_is_likeliest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of this test finds likely what is as loud as what was before it."""
    monkeypatch.setattr(candidates, "_WEIGHTS", np.array([1, 0, 0]))
    seeds = [5, *(derive(5, "candidate", index) for index in range(1, candidates.COUNT))]
    loudness = {seed: 0.05 + seed % 11 / 50 for seed in seeds}
    for wanted in (min(loudness.values()), max(loudness.values())):
        model, source = model_of(), Audio(tone(10, amplitude=wanted), RATE)
        [clip] = repainted(model, source, 3, 5)
        made = clip.samples[:, round(3.1 * RATE) : round(4.9 * RATE)]
        np.testing.assert_allclose(np.abs(made).max(), np.abs(source.samples).max(), rtol=0.01)
        [requests] = model.scored
        assert [(request.start, request.tokens.shape[-1]) for request in requests] == [(250, 500)] * len(seeds)


def test_each_variation_has_candidates_of_its_own_and_can_be_made_alone() -> None:
    source = noise(8, 44_100, 2)
    model = FakeMusicModel(lambda seed, length: tone(length, amplitude=0.05 + seed % 1009 / 5000)[0])
    clips = repainted(model, source, 2, 4, variations=3)
    assert len({clip.samples.tobytes() for clip in clips}) == 3
    [again] = repainted(model, source, 2, 4, seed=clips[2].seed)
    assert np.array_equal(again.samples, clips[2].samples)


@pytest.mark.parametrize(("start", "end", "temperature"), [(4, None, 1.0), (2, 4, 0.0)])
def test_there_is_one_candidate_where_none_can_be_told_from_another(
    start: float, end: float | None, temperature: float
) -> None:
    model = model_of()
    repainted(model, noise(6, RATE, 1), start, end, temperature=temperature)
    assert len(model.asked[0]) == 1 and not model.scored


def test_a_part_longer_than_a_window() -> None:
    model, source = model_of(window=150), noise(12, RATE, 1)
    [clip] = repainted(model, source, 2, 9)
    assert clip.samples.shape == source.samples.shape
    assert all(request.length <= 150 for requests in model.asked for request in requests)
    assert all(request.tokens.shape[-1] == 150 and request.start == 75 for request in model.scored[0])


def test_a_silent_recording() -> None:
    [clip] = repainted(model_of(), Audio(np.zeros((2, 6 * 44_100), np.float32), 44_100), 2, 4)
    assert not clip.samples[:, :44_100].any() and np.abs(clip.samples[:, round(2.1 * 44_100)]).max() > 0


def test_seams_are_smooth() -> None:
    """Where the model plays on what is there, nothing is heard of the seams."""
    source = Audio(tone(8, amplitude=0.2), RATE)
    model = FakeMusicModel(lambda _seed, length: source.samples[0, 3 * RATE : 3 * RATE + round(length * RATE)])
    [clip] = repainted(model, source, 3, 5)
    np.testing.assert_allclose(clip.samples, source.samples, atol=1e-3)


def test_new_music_is_as_loud_as_the_recording_where_the_codec_is_quieter() -> None:
    class Quiet(FakeMusicModel):
        def encode(self, audio: torch.Tensor) -> torch.Tensor:
            return super().encode(audio / 2)

    source = Audio(tone(10, amplitude=0.2), RATE)
    for start, end in ((3.0, 6.0), (0.0, 3.0), (7.0, None)):
        [clip] = repainted(Quiet(lambda _seed, length: tone(length, amplitude=0.2)[0]), source, start, end)
        np.testing.assert_allclose(
            np.abs(clip.samples[:, round((start + 0.1) * RATE) :][:, :RATE]).max(), 0.2, rtol=0.05
        )


def grid(tempo: float = 120.0, confidence: float = 0.9) -> BeatGrid:
    return BeatGrid(tempo, np.arange(0.1, 20, 60 / tempo), confidence=confidence)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1.0, 3.0, (1.1, 3.0)),  # from 3.0 the beat before is more than half a beat away
        (1.1, 3.1, (1.1, 3.1)),
        (1.2, 3.3, (1.2, 3.1)),
        (0.0, 3.2, (0.0, 3.1)),
        (1.0, 20.0, (1.1, 20.0)),
        (1.0, 1.55, (1.0, 1.55)),
    ],
)
def test_borders_are_on_the_nearest_beats_inside_the_part(
    start: float, end: float, expected: tuple[float, float]
) -> None:
    assert repaint.on_beats(start, end, 20.0, grid().beats, 120.0) == pytest.approx(expected)


def test_borders_stay_where_beats_are_unclear() -> None:
    with notes.collected(quiet=True) as sentences:
        repainted(model_of(), noise(9, RATE, 1), 2.0, 5.2, track=lambda *_: grid(confidence=0.1))
    assert sentences == []
    assert repaint.on_beats(1.0, 3.2, 20.0, np.zeros(0), 0.0) == (1.0, 3.2)


def clicks(seconds: float, times: np.ndarray) -> np.ndarray:
    """A quiet tone with a sharp attack at each time."""
    sound = tone(seconds, amplitude=0.02)[0]
    for at in np.round(times[times < seconds - 0.02] * RATE).astype(int):
        sound[at : at + 320] += 0.5 * np.exp(-np.arange(320) / 60).astype(np.float32)
    return sound


def test_of_candidates_that_are_as_likely_the_one_on_the_beats_is_kept() -> None:
    beats = np.arange(0.25, 20, 0.5)

    def play(seed: int, length: float) -> np.ndarray:
        # The part begins at 4.25 s; the last candidate alone has its attacks on the beats.
        return clicks(length, np.arange(0.0 if seed == derive(5, "candidate", 5) else 0.17, 20, 0.5))

    source = Audio(clicks(10, beats)[None], RATE)
    track = BeatGrid(120, beats, confidence=0.9)
    [clip] = repainted(FakeMusicModel(play), source, 4.25, 6.25, track=lambda *_: track)
    attacks = np.flatnonzero(np.diff(clip.samples[0, round(4.3 * RATE) : round(6.2 * RATE)]) > 0.2) / RATE + 4.3
    assert np.allclose(attacks, [4.75, 5.25, 5.75], atol=0.03)


def test_share_on_beats() -> None:
    sound = clicks(4, np.arange(0.25, 4, 0.5))[None]
    on, off = (candidates.share_on_beats(sound, RATE, np.arange(start, 4, 0.5)) for start in (0.25, 0.5))
    assert on > 3 > 1 > off
    assert candidates.share_on_beats(sound, RATE, np.zeros(0)) == 0


def test_the_recording_goes_on_where_the_least_is_heard_of_it() -> None:
    """A candidate that plays what the recording does, but for noise in the last tenth of a second."""
    source = tone(6, amplitude=0.2)
    made = source[:, : 4 * RATE].copy()
    made[:, -3200:] = np.random.default_rng(1).normal(0, 0.3, 3200)
    model = model_of()
    tokens, recorded = (model.encode(torch.from_numpy(sound)) for sound in (made, source))
    around = Surroundings(100, candidates.reach(100), recorded[:, 200 - candidates.reach(100) :], np.zeros(0))
    found = candidates.join(model, tokens, around)
    assert found.early in (6, 8, 10) and found.flux < candidates.join_flux(model, tokens, around, 0) / 5
    assert torch.equal(around.joined(tokens, found.early), recorded)


@pytest.mark.parametrize(("frames", "early"), [(25, 5), (50, 10), (1000, 10)])
def test_a_short_part_is_joined_near_its_end(frames: int, early: int) -> None:
    assert candidates.reach(frames) == early


def test_a_part_that_is_moved_to_beats_is_told() -> None:
    with notes.collected(quiet=True) as sentences:
        [clip] = repainted(model_of(), noise(9, RATE, 1), 2.0, 5.2, track=lambda *_: grid())
    assert sentences == ["The part from 2 to 5.2 s is made anew from 2.1 to 5.1 s, where beats are."]
    assert clip.samples.shape == (1, 9 * RATE)


def test_beats_are_looked_for_near_the_part() -> None:
    heard: list[Any] = []

    def track(samples: np.ndarray, rate: int, tempo: float | None) -> BeatGrid:
        heard.append((len(samples) / rate, tempo))
        return BeatGrid(120, np.arange(0.25, 60, 0.5), confidence=0.9)

    with notes.collected(quiet=True) as sentences:
        repainted(model_of(), noise(100, 8000, 1), 50.1, 52.0, track=track, bpm=120)
    assert heard == [(pytest.approx(61.9), 120)]
    # Beats are counted from 20.1 s on.
    assert sentences == ["The part from 50.1 to 52 s is made anew from 50.35 to 51.85 s, where beats are."]
