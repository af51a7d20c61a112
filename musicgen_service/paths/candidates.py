"""Which of several candidates for a repainted part joins best, and where it is joined to what follows.

The join need not be at the end of the part: where the recording goes on a little earlier, less of it may be heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from musicgen_service.analysis import onsets
from musicgen_service.engine.interface import Condition, ScoreRequest
from musicgen_service.models.music_model import MusicModel
from musicgen_service.paths.job import Job

COUNT = 8
"""How many candidates a part has."""
_EARLY = 10
"""Maximum frames by which the recording goes on before the end of a part, and at most a fifth of the part."""
_STEP = 2
"""Frames between the places of a join that are tried."""
_BESIDE = 1.0
"""Seconds on either side of a seam that are decoded to hear it."""
_NEAR = 0.03
"""Seconds around a beat in which an onset is on it."""
_WEIGHTS = np.array([1, 3, 4])
"""How much the ranks by likelihood, seams and beats count, chosen on songs with which nothing is measured. By
likelihood alone, seams and beats are no better than by chance."""


@dataclass(frozen=True)
class Surroundings:
    """What candidates are joined to.

    Attributes
    ----------
    before : frames of a candidate that are the recording's, before the part
    early : frames at the end of the part in which the recording may go on already
    following : the recording's tokens [codebooks, frames] from `early` frames before the end of the part on
    beats : of the recording, in seconds from the beginning of the candidates; none where they are unclear
    """

    before: int
    early: int
    following: torch.Tensor
    beats: np.ndarray

    def joined(self, candidate: torch.Tensor, early: int) -> torch.Tensor:
        """A candidate up to so many frames before its end, and what follows."""
        return torch.cat([candidate[:, : candidate.shape[-1] - early], self.following[:, self.early - early :]], dim=-1)


class Join(NamedTuple):
    """A join of a candidate: how many frames before its end, and the flux that is heard there."""

    early: int
    flux: float


def reach(frames: int) -> int:
    """By how many frames the recording may go on before the end of a part of so many frames."""
    return min(_EARLY, frames // 5)


def best(
    model: MusicModel, condition: Condition, candidates: Sequence[torch.Tensor], around: Surroundings
) -> tuple[int, Join]:
    """Return the number of the candidate that joins best, and its join.

    Parameters
    ----------
    candidates : tokens [codebooks, frames] of what is before the part, and of the part
    """
    if len(candidates) == 1:
        return 0, join(model, candidates[0], around)
    seams = [-start_flux(model, tokens, around) - join_flux(model, tokens, around, 0) for tokens in candidates]
    on_beats = [on_beat(model, tokens, around) for tokens in candidates]
    likely = likelihoods(model, condition, candidates, around.following[:, around.early :])
    values = np.array([likely, seams, on_beats])
    ranks = (values[:, :, None] > values[:, None]).sum(axis=2)  # equal ones have the same rank
    chosen = int(np.argmax(_WEIGHTS @ ranks))
    return chosen, join(model, candidates[chosen], around)


def join(model: MusicModel, candidate: torch.Tensor, around: Surroundings) -> Join:
    """Find where the least is heard of the join of a candidate."""
    places = range(0, around.early + 1, _STEP)
    return min(
        (Join(early, join_flux(model, candidate, around, early)) for early in places), key=lambda found: found.flux
    )


def join_flux(model: MusicModel, candidate: torch.Tensor, around: Surroundings, early: int) -> float:
    """Return the flux that is heard where a candidate is joined, so many frames before its end."""
    return _flux(model, around.joined(candidate, early), candidate.shape[-1] - early)


def start_flux(model: MusicModel, candidate: torch.Tensor, around: Surroundings) -> float:
    """Return the flux that is heard where the part of a candidate begins; none at the beginning of a recording."""
    return _flux(model, candidate, around.before) if around.before else 0.0


def _flux(model: MusicModel, tokens: torch.Tensor, seam: int) -> float:
    """Return the highest flux around a frame."""
    beside = round(_BESIDE * model.frame_rate)
    first = max(0, seam - beside)
    sound = Job.as_samples(model.decode(tokens[:, first : seam + beside]))
    return float(onsets.peaks(sound, model.sample_rate, [(seam - first) * model.hop])[0])


def on_beat(model: MusicModel, candidate: torch.Tensor, around: Surroundings) -> float:
    """Return how much of the onsets of a candidate's part is on beats; of a long part, its end is listened to."""
    heard = min(candidate.shape[-1] - around.before, model.window // 2)
    first = candidate.shape[-1] - heard
    sound = Job.as_samples(model.decode(candidate[:, first:]))
    return share_on_beats(sound, model.sample_rate, around.beats - first / model.frame_rate)


def share_on_beats(sound: np.ndarray, rate: int, beats: np.ndarray) -> float:
    """Return how strong onsets near beats (seconds) are, relative to those of the whole sound [channels, samples]."""
    flux = onsets.flux(sound, rate)
    times = np.arange(len(flux)) * onsets.HOP_SECONDS
    near = (np.abs(times[:, None] - beats) < _NEAR).any(axis=1)
    return float(flux[near].mean() / max(flux.mean(), 1e-9)) if near.any() else 0.0


def likelihoods(
    model: MusicModel, condition: Condition, candidates: Sequence[torch.Tensor], following: torch.Tensor
) -> list[float]:
    """Return how likely the model finds what follows after each candidate, as the mean logarithm over its tokens.

    Parameters
    ----------
    candidates : tokens [codebooks, frames]
    following : the tokens [codebooks, frames] after each of them, fewer than a window
    """
    room = model.window - following.shape[-1]
    requests = [
        ScoreRequest(condition, torch.cat([tokens[:, -room:], following], dim=-1), start=min(room, tokens.shape[-1]))
        for tokens in candidates
    ]
    return [float(score.mean()) for score in model.score_tokens(requests)]
