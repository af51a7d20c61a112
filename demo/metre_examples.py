"""What the model of beats and bars learns from recordings: the readings of each, and which of them are right.

What is heard of a recording is kept in a folder, so that a fit can be repeated without hearing all of them again.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mir_eval.beat import f_measure
from numpy.typing import NDArray

from demo.metre_recordings import Maker
from musicgen_service.analysis import beats, metre, metre_model
from musicgen_service.analysis.envelopes import BANDS, HOP, mono
from musicgen_service.models import packaged
from musicgen_service.models.beatnet import BeatNet
from musicgen_service.models.catalogue import BEATNET

Array = NDArray[np.float64]
_RIGHT = 0.9  # F-measure of beats and of downbeats from which a reading is right


class Heard(NamedTuple):
    """What was heard of a recording, and what is known of it.

    Attributes
    ----------
    rows : what `beats.hear` returns, with the network
    length, seconds : of the recording, in frames and in seconds
    beats, downbeats, metre, fold, any_bar : see `metre_recordings.Recording`
    """

    rows: list[Array]
    length: float
    seconds: float
    beats: Array
    downbeats: Array
    metre: str
    fold: int
    any_bar: bool


class Example(NamedTuple):
    """The readings of one recording.

    Attributes
    ----------
    kind : see `metre_recordings.WEIGHTS`
    fold : of the cross-validation
    evidence : ``[readings, features]``
    beats : which of the possible beats each reading has, ``[readings]``
    right : whether it is right, ``[readings]``
    near : F-measure of possible beats, ``[beats]``
    features : of the recording
    has_beat : whether it has one
    """

    kind: str
    fold: int
    evidence: NDArray[np.float32]
    beats: NDArray[np.int64]
    right: NDArray[np.bool_]
    near: Array
    features: Array
    has_beat: bool


def examples(maker: Maker, folder: Path) -> tuple[Example | None, Example | None]:
    """What a recording teaches with the network, and without it; None where it has no pulse at all.

    Parameters
    ----------
    folder : where what is heard is kept
    """
    heard = _heard(maker, folder)
    alone = heard._replace(rows=[rows[: len(BANDS)] for rows in heard.rows])
    return _example(heard, maker.kind), _example(alone, maker.kind)


def _heard(maker: Maker, folder: Path) -> Heard:
    """Hear a recording, or read what was heard of it."""
    path = folder / f"{maker.kind}-{maker.number:04d}.npz"
    if not path.is_file():
        made = maker.make()
        audio = mono(made.samples, made.rate)
        heard = beats.hear(audio, _network().hear)
        rows: dict[str, Any] = {f"r{n}": part.astype(np.float32) for n, part in enumerate(heard)}
        unfinished = path.with_suffix(".new.npz")
        np.savez(
            unfinished,
            length=len(audio) / HOP,
            seconds=made.samples.shape[-1] / made.rate,
            n=len(rows),
            beats=made.beats,
            downbeats=made.downbeats,
            metre=made.metre,
            fold=made.fold,
            any_bar=made.any_bar,
            **rows,
        )
        unfinished.replace(path)
    with np.load(path) as file:
        return Heard(
            [file[f"r{n}"].astype(float) for n in range(int(file["n"]))],
            float(file["length"]),
            float(file["seconds"]),
            file["beats"],
            file["downbeats"],
            str(file["metre"]),
            int(file["fold"]),
            bool(file["any_bar"]),
        )


@cache
def _network() -> BeatNet:
    return BeatNet(packaged.files(BEATNET))


def _example(recording: Heard, kind: str) -> Example | None:
    heard = beats.possible(recording.rows, recording.length)
    possible = [grid for one in heard for grid in one.possible]
    if not possible:
        return None
    times = [beats.inside(grid.frames, recording.seconds) for grid in possible]
    near = np.array([f_measure(recording.beats, found) if len(found) else 0.0 for found in times])
    readings = [(number, reading) for number, grid in enumerate(possible) for reading in metre.readings(grid)]
    right = [near[number] > _RIGHT and _is_right(reading, recording) for number, reading in readings]
    return Example(
        kind,
        recording.fold,
        metre_model.evidence(heard).astype(np.float32),
        np.array([number for number, _ in readings]),
        np.array(right),
        near,
        metre_model.features(heard),
        len(recording.beats) > 0,
    )


def _is_right(reading: metre.Reading, recording: Heard) -> bool:
    """Whether bars are right where beats are."""
    if recording.any_bar:
        return True
    found = beats.inside(reading.downbeats, recording.seconds)
    return reading.metre.name == recording.metre and len(found) > 0 and f_measure(recording.downbeats, found) > _RIGHT
