"""The fit of the model of beats and bars, on a handful of recordings."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bench import rendered
from demo import fit_metre, metre_recordings
from demo.metre_examples import Example, Examples, examples
from demo.metre_recordings import Maker
from musicgen_service.analysis import conditional_logit
from musicgen_service.analysis.conditional_logit import Weights

SONGS, SOUNDS = range(9_000, 9_010), (2, 3, 4, 5)  # not those that the shipped weights are fitted on; without speech


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> list[Examples]:
    """What the recordings teach without a network."""
    folder = tmp_path_factory.mktemp("heard")
    makers = [Maker("song", number, partial(metre_recordings.song, number)) for number in SONGS]
    makers += [Maker("sound", number, partial(metre_recordings.sound, number)) for number in SOUNDS]
    return [examples(maker, folder)[1] for maker in makers]


@pytest.fixture(scope="module")
def learned(taught: list[Examples]) -> list[Example]:
    return [example.beats for example in taught if example.beats]


@pytest.fixture(scope="module")
def weights(learned: list[Example]) -> Iterator[Weights]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_metre, "EPOCHS", 150)  # of one batch each
        yield fit_metre.Fit(learned, 0).run()


@pytest.mark.slow
def test_fitted_weights_prefer_the_right_readings(learned: list[Example], weights: Weights) -> None:
    assert sum(e.right.any() for e in learned) > 5 and sum(not e.has_beat for e in learned) > 2
    assert all(e.right.sum() < len(e.right) / 4 for e in learned)
    shares = [conditional_logit.softmax(weights, e.evidence, e.features) for e in learned]
    hits = [e.right[found.argmax()] for e, (found, _) in zip(learned, shares, strict=True) if e.right.any()]
    none = [nothing > 0.5 for _, nothing in shares]
    assert np.mean(hits) > 0.8
    assert np.mean(np.array(none) == [not e.has_beat for e in learned]) > 0.8


@pytest.mark.slow
def test_fitted_weights_prefer_the_right_bars(taught: list[Examples], monkeypatch: pytest.MonkeyPatch) -> None:
    bars = [example for one in taught for example in one.bars]
    assert len(bars) > 5 and all(e.right.sum() == 1 for e in bars)
    monkeypatch.setattr(fit_metre, "EPOCHS", 150)
    weights = fit_metre.Fit(bars, 0).run()
    assert np.mean([e.right[conditional_logit.scores(weights, e.evidence).argmax()] for e in bars]) > 0.9


@pytest.mark.slow
def test_the_same_recordings_give_the_same_weights(learned: list[Example], weights: Weights) -> None:
    again = fit_metre.Fit(learned, 0).run()
    assert all(np.array_equal(one, other) for one, other in zip(weights, again, strict=True))


@pytest.mark.slow
def test_scores_of_fits_side_by_side_are_averaged(learned: list[Example], weights: Weights) -> None:
    other = weights._replace(linear=2 * weights.linear, out=-weights.out)
    both = fit_metre.mean([weights, other])
    [e, *_] = learned
    assert conditional_logit.scores(both, e.evidence) == pytest.approx(
        (conditional_logit.scores(weights, e.evidence) + conditional_logit.scores(other, e.evidence)) / 2
    )


def test_what_was_heard_is_not_made_again(tmp_path: Path) -> None:
    made = []

    def make() -> metre_recordings.Recording:
        made.append(1)
        return metre_recordings.song(9_001)

    first, again = (examples(Maker("song", 9_001, make), tmp_path)[0] for _ in range(2))
    assert len(made) == 1 and len(first.bars) == len(again.bars) > 0
    assert first.beats is not None and again.beats is not None
    for one, other in zip([first.beats, *first.bars], [again.beats, *again.bars], strict=True):
        assert np.array_equal(one.evidence, other.evidence) and np.array_equal(one.right, other.right)


def test_scores_are_rendered_before_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "load", lambda _split: [])
    command = f"python -m bench.rendered --clips {metre_recordings.SCORES} --split training"
    with pytest.raises(FileNotFoundError, match=f"run `{command}`"):
        next(metre_recordings.makers())
