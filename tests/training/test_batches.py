"""The clips of a step: what is predicted, and what it is predicted from."""

from collections.abc import Callable

import pytest
import torch

from musicgen_service.training.batches import Batches, Row
from musicgen_service.training.encoding import Clip
from musicgen_service.training.options import Options

CPU = torch.device("cpu")
SONG, MADE = 1, 2
"""The token of which a song's clips consist, and of those that the base made."""
Quick = Callable[..., Options]


class NoConditions:
    """In the place of conditions."""

    def row(self, _caption: str, _chroma: torch.Tensor | None = None, *, dropped: bool = False) -> torch.Tensor:
        return torch.full((1, 1, 1), float(dropped))


def rows(options: Options, steps: int = 40) -> list[Row]:
    """The rows of the first steps."""
    song = Clip(0, "a song", torch.full((4, 500), SONG), (0,), None)
    made = Clip(-1, "another", torch.full((4, 100), MADE), (0,), None)
    batches = Batches([song], [made], NoConditions(), options, 50, CPU)  # type: ignore[arg-type]
    return [row for step in range(steps) for row in batches.of_step(step)]


def test_songs_are_predicted_from_clips_that_are_disturbed_in_half_seconds(quick: Quick) -> None:
    songs = [row for row in rows(quick("demo", trigger="in style", disturbed=1.0)) if not row.is_kept]
    assert all((row.tokens == SONG).all() for row in songs)
    shares = []
    for row in songs:
        spans = row.heard.view(4, -1, 25)
        assert set(row.heard.flatten().tolist()) <= {SONG, MADE}
        assert (spans == spans[:1, :, :1]).all()
        shares.append(float((row.heard == MADE).float().mean()))
    assert min(shares) < 0.1 and max(shares) > 0.7 and 0.2 < sum(shares) / len(shares) < 0.45


def test_nothing_is_disturbed_where_the_base_is_kept_or_the_option_is_0(quick: Quick) -> None:
    kept = [row for row in rows(quick("demo", trigger="in style", disturbed=1.0)) if row.is_kept]
    undisturbed = rows(quick("demo", trigger="in style", disturbed=0.0))
    assert kept and all(torch.equal(row.heard, row.tokens) for row in [*kept, *undisturbed])


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_captions_are_left_out_where_there_is_no_trigger(dropout: float, quick: Quick) -> None:
    song = Clip(0, "a song", torch.full((4, 500), SONG), (0,), None)
    batches = Batches([song], [], NoConditions(), quick("demo", dropout=dropout), 50, CPU)  # type: ignore[arg-type]
    dropped = [float(row.condition) for step in range(100) for row in batches.of_step(step)]
    assert sum(dropped) / len(dropped) == pytest.approx(dropout, abs=0.08)
    with_trigger = [row for row in rows(quick("demo", trigger="in style", dropout=1.0)) if not row.is_kept]
    assert not any(float(row.condition) for row in with_trigger)


def test_a_step_has_the_same_clips_whenever_it_is_drawn(quick: Quick) -> None:
    options = quick("demo", trigger="in style", disturbed=1.0)
    for one, other in zip(rows(options), rows(options), strict=True):
        assert torch.equal(one.heard, other.heard) and torch.equal(one.condition, other.condition)
