"""Clips whose audio comes in order, so that it can be heard while more of it is made."""

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from musicgen_service.analysis.chords import ChordSegment
from musicgen_service.engine.interface import Condition, result
from musicgen_service.listener import Listener, Sound
from musicgen_service.models.music_model import MusicModel
from musicgen_service.paths import finishing
from musicgen_service.paths.job import Clip, Job
from musicgen_service.paths.windows import Wording, stream_tokens

_FIRST_SIZES = (10, 25, 50)
"""Frames of the first pieces: the first is heard early, and larger ones cost less, as each is decoded with context."""
_SIZE = 100
"""Frames of every other piece."""


@dataclass(frozen=True)
class Plan:
    """How the clips of a request are made.

    Attributes
    ----------
    condition_at, prefix_tokens, frames : what to generate; see `windows.stream_tokens`
    audible : turns the sound [channels, samples] of a clip's tokens, in consecutive pieces, into that of the clip
    wordings : the texts of sections; see `windows.stream_tokens`
    chords : see `Clip`
    """

    condition_at: Callable[[int], Condition]
    prefix_tokens: torch.Tensor | None
    frames: int
    audible: Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]]
    wordings: tuple[Wording, ...] = ()
    chords: Sequence[ChordSegment] = ()


def generate(job: Job, plan: Plan) -> Iterator[Clip]:
    """Generate clips [channels, samples] by a plan; the listener of the job, if it has one, hears the first of them.

    What is heard was decoded in small pieces, and each clip is decoded again as a whole: its file is the same whether
    somebody listened or not.
    """
    with closing(_tokens(job, plan, is_heard=job.listener is not None)) as tokens:
        clips = result(tokens) if job.listener is None else _play(job, plan, tokens, job.listener)
    for number, (seed, clip) in enumerate(zip(job.seeds, clips, strict=True), 1):
        sound = joined(list(plan.audible(iter([job.decode_tokens(clip, seed)]))))
        yield job.normalised(Clip(sound, seed, number, chords=plan.chords))


def stream(job: Job, plan: Plan) -> Iterator[np.ndarray]:
    """Generate the first clip of a plan, not normalised, because its level is known only when it is complete.

    Yields
    ------
    Consecutive float32 arrays [channels, samples]
    """
    with closing(_tokens(job, plan, is_heard=True)) as tokens:
        yield from _pieces(job, plan, tokens)


def joined(pieces: list[np.ndarray]) -> np.ndarray:
    """Join consecutive pieces [channels, samples]; a single one is not copied."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)


def _tokens(job: Job, plan: Plan, *, is_heard: bool) -> Generator[torch.Tensor, None, list[torch.Tensor]]:
    what = plan.condition_at, plan.prefix_tokens, plan.frames
    how = job.sampling, job.seeds, job.report
    return stream_tokens(job.model, *what, *how, plan.wordings, is_heard=is_heard)


def _pieces(job: Job, plan: Plan, tokens: Iterable[torch.Tensor]) -> Iterator[np.ndarray]:
    """Turn the tokens that follow the prefix into consecutive pieces of the clip."""
    first, *others = _FIRST_SIZES
    if plan.prefix_tokens is not None:
        first += plan.prefix_tokens.shape[-1]
        tokens = itertools.chain([plan.prefix_tokens], tokens)
    sizes = itertools.chain([first], others, itertools.repeat(_SIZE))
    return finishing.heard(job, plan.audible(map(job.as_samples, job.model.stream_audio(tokens, sizes))))


def _play(
    job: Job, plan: Plan, tokens: Generator[torch.Tensor, None, list[torch.Tensor]], listener: Listener
) -> list[torch.Tensor]:
    """Generate the tokens of all clips, and play the first clip to the listener from the moment it listens."""
    clips: list[torch.Tensor] = []

    def run() -> Iterator[torch.Tensor]:
        clips.extend((yield from tokens))

    arriving = run()
    beginning, factor = _beginning(arriving, job.model, listener)
    if listener.is_listening:
        sound = Sound(job.output_samples, job.output_rate, job.model.channels, job.request.output_format, factor)
        listener.start(sound)
        for piece in _pieces(job, plan, itertools.chain(beginning, arriving)):
            listener.hear(piece)
        listener.end()
    for _ in arriving:
        pass  # nobody listens
    return clips


def _beginning(
    arriving: Iterator[torch.Tensor], model: MusicModel, listener: Listener
) -> tuple[list[torch.Tensor], float | None]:
    """Collect tokens until there are enough for the first piece and the listener listens, or until there are no more.

    Returns
    -------
    The tokens, and how many seconds of music are generated in a second, where that can be told
    """
    needed = _FIRST_SIZES[0] + model.lookahead
    parts: list[torch.Tensor] = []
    known = frames = 0  # in all, and of them those after the first part
    began = seconds = 0.0
    for part in arriving:
        if parts:
            frames += part.shape[-1]
            seconds = time.monotonic() - began
        else:
            began = time.monotonic()
        parts.append(part)
        known += part.shape[-1]
        if known >= needed and listener.is_listening:
            break
    return parts, frames / model.frame_rate / seconds if frames and seconds else None
