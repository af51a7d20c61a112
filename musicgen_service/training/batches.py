"""The clips of each step, drawn from the seed and the step's number alone: a resumed training draws the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from musicgen_service.training import captions
from musicgen_service.training.base import Conditions
from musicgen_service.training.encoding import Clip
from musicgen_service.training.options import Options

_T = TypeVar("_T")

_MELODY = 0.3
"""Share of the clips that follow their own melody, for a base that takes one; most requests give none."""
_MADE = 0.6
"""Share of the clips made by the base, among those on which it is kept; the others are of the songs."""
_NO_WORDS = 0.25
"""Share of the clips without a caption, among those on which the base is kept: guidance moves away from them."""
_SPAN = 0.5
"""Seconds that are replaced at a time in what is heard: long enough to sound like other music."""


@dataclass(frozen=True)
class Row:
    """A clip of a step.

    Attributes
    ----------
    tokens : int64 [1, codebooks, frames], what is to be predicted
    heard : int64 [1, codebooks, frames], what it is predicted from: the tokens, or others in some spans
    condition : float [1, positions, dim]
    is_kept : whether the base's predictions are the target, in place of the tokens
    """

    tokens: torch.Tensor
    heard: torch.Tensor
    condition: torch.Tensor
    is_kept: bool


class Batches:
    """Draws the clips of steps.

    Parameters
    ----------
    clips : of the songs
    made : clips by the base, with captions that do not have the trigger; empty without a trigger
    conditions : of their captions
    frame_rate : frames per second
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        made: Sequence[Clip],
        conditions: Conditions,
        options: Options,
        frame_rate: int,
        device: torch.device,
    ) -> None:
        self._clips = clips
        self._made = made
        self._conditions = conditions
        self._options = options
        self._frames = round(options.crop * frame_rate)
        self._span = round(_SPAN * frame_rate)
        self._device = device

    def of_step(self, step: int) -> list[Row]:
        """Draw the clips of a step, counted from 0."""
        random = np.random.default_rng((self._options.seed, step))
        rows = [self._song_row(random) for _ in range(self._options.batch)]
        if self._made:
            rows.append(self._kept_row(random))
        return rows

    def held_out(self, clips: Sequence[Clip]) -> list[Row]:
        """The clips on which the loss is measured: each from its first bar, with its caption."""
        caption = self._options.trigger
        return [
            self._row(clip, 0, self._conditions.row(captions.with_trigger(caption, clip.caption))) for clip in clips
        ]

    def _song_row(self, random: np.random.Generator) -> Row:
        clip = _pick(random, self._clips)
        caption = captions.with_trigger(self._options.trigger, clip.caption)
        # With a trigger, what is not asked for by it stays as it was.
        dropped = not self._made and bool(random.random() < self._options.dropout)
        chroma = clip.chroma if clip.chroma is not None and random.random() < _MELODY else None
        start = self._start(random, clip)
        row = self._row(clip, start, self._conditions.row(caption, _part(clip, chroma, start), dropped=dropped))
        return replace(row, heard=self._disturbed(random, row.tokens))

    def _kept_row(self, random: np.random.Generator) -> Row:
        clip = _pick(random, self._made if random.random() < _MADE else self._clips)
        dropped = bool(random.random() < _NO_WORDS)
        condition = self._conditions.row(clip.caption, dropped=dropped)
        return self._row(clip, self._start(random, clip), condition, is_kept=True)

    def _disturbed(self, random: np.random.Generator, tokens: torch.Tensor) -> torch.Tensor:
        """Replace spans by those of a clip that the base made, or of another song.

        A model continues what it has made itself, which is never quite right, and for the base's habits in it goes on
        with them. So it is trained to come back from them. The share of a clip that is replaced is the square of a
        uniform draw, times `disturbed`: some clips are hardly disturbed, and some nearly as a whole.
        """
        share = self._options.disturbed * random.random() ** 2
        frames = tokens.shape[-1]
        replaced = np.repeat(random.random(-(-frames // self._span)) < share, self._span)[:frames]
        other = _pick(random, self._made or self._clips).tokens.to(self._device)
        others = other.repeat(1, -(-frames // other.shape[1]))[None, :, :frames]
        return torch.where(torch.from_numpy(replaced).to(self._device), others, tokens)

    def _start(self, random: np.random.Generator, clip: Clip) -> int:
        """The first frame of a crop: that of a bar where one leaves enough behind it, else any."""
        last = clip.tokens.shape[1] - self._frames
        if last <= 0:
            return 0
        bars = [bar for bar in clip.bars if 0 <= bar <= last]
        return int(_pick(random, bars)) if bars else int(random.integers(last + 1))

    def _row(self, clip: Clip, start: int, condition: torch.Tensor, *, is_kept: bool = False) -> Row:
        tokens = clip.tokens[None, :, start : start + self._frames].to(self._device)
        return Row(tokens, tokens, condition, is_kept)


def _part(clip: Clip, chroma: torch.Tensor | None, start: int) -> torch.Tensor | None:
    """The chroma from a frame of the clip on."""
    if chroma is None:
        return None
    first = round(start / clip.tokens.shape[1] * chroma.shape[1])
    return chroma[:, min(first, chroma.shape[1] - 1) :]


def _pick(random: np.random.Generator, options: Sequence[_T]) -> _T:
    return options[int(random.integers(len(options)))]
