"""What the model of beats and bars learns from recordings: the readings of each, and which of them are right.

What is heard of a recording is kept in a folder, so that a fit can be repeated without hearing all of them again.
"""

import argparse
from collections.abc import Callable
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from mir_eval.beat import f_measure
from numpy.typing import NDArray

from demo import metre_recordings
from demo.metre_recordings import NETWORKS, Maker, Recording, networks_of
from musicgen_service.analysis import beats, metre, metre_model
from musicgen_service.analysis.beats import Measured
from musicgen_service.analysis.envelopes import HOP, envelopes, loudness, mono
from musicgen_service.models import packaged
from musicgen_service.models.beatnet import BeatNet
from musicgen_service.models.catalogue import BEATNET

Array = NDArray[np.float64]
FOLDER = Path(__file__).resolve().parents[1] / "build" / "metre"
T = TypeVar("T")
_RIGHT = 0.9  # F-measure of beats and of downbeats from which a reading is right


class Heard(NamedTuple):
    """What was heard of a recording, and what is known of it.

    Attributes
    ----------
    sounds : of the recording and, if it is short, of it repeated: loudness, envelopes, and what BeatNet hears
    length, seconds : of the recording, in frames and in seconds
    beats, downbeats, metre, fold, any_bar : see `metre_recordings.Recording`
    """

    sounds: list[tuple[NDArray[np.float32], Array, NDArray[np.float32]]]
    length: float
    seconds: float
    beats: Array
    downbeats: Array
    metre: str
    fold: int
    any_bar: bool


class Example(NamedTuple):
    """Readings of one recording that compete.

    Attributes
    ----------
    kind : see `metre_recordings.WEIGHTS`
    fold : of the cross-validation
    evidence : ``[readings, features]``
    answers : what the model is asked for, in each reading: which of the possible beats, or which bars, ``[readings]``
    right : whether it is right, ``[readings]``
    near : F-measure of each answer, ``[answers]``
    features : of the recording
    has_beat : whether it has one
    """

    kind: str
    fold: int
    evidence: NDArray[np.float32]
    answers: NDArray[np.int64]
    right: NDArray[np.bool_]
    near: Array
    features: Array
    has_beat: bool


class Examples(NamedTuple):
    """What one recording teaches.

    Attributes
    ----------
    beats : all readings of it; None where it has no pulse at all
    bars : the readings with those beats that are nearest to the right ones, as it is and repeated
    """

    beats: Example | None
    bars: list[Example]


def from_command_line(description: str, teach: Callable[[Maker, Path], T]) -> list[T]:
    """Return what each of all recordings teaches, with the number of processes and the folder that a command asks for.

    Parameters
    ----------
    description : of the command
    teach : takes a recording, and the folder where what is heard is kept
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where what is heard of recordings is kept")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    jobs = ((teach, maker, options.folder) for maker in metre_recordings.makers())
    with Pool(options.processes) as pool:
        return list(pool.imap(_taught, jobs, chunksize=8))


def _taught(job: tuple[Callable[[Maker, Path], T], Maker, Path]) -> T:
    teach, maker, folder = job
    return teach(maker, folder)


def examples(maker: Maker, folder: Path) -> tuple[Examples, Examples]:
    """What a recording teaches with BeatNet, and without it.

    Our own network is one that did not learn from it, and hears it as it hears any other.

    Parameters
    ----------
    folder : where what is heard is kept
    """
    heard = hear(maker, folder)
    # The last of them: what was learned from all of them was no better.
    [*_, number] = range(NETWORKS)[networks_of(heard.fold)]
    own = slice(number, number + 1)
    with_beatnet = [beats.measured(loud, rows, other, own) for loud, rows, other in heard.sounds]
    without = [beats.measured(loud, rows, None, own) for loud, rows, _ in heard.sounds]
    return _examples(heard, with_beatnet, maker.kind), _examples(heard, without, maker.kind)


def hear(maker: Maker, folder: Path) -> Heard:
    """Hear a recording, or read what was heard of it."""
    path = folder / f"{maker.kind}-{maker.number:04d}.npz"
    if not path.is_file():
        _keep(maker.make(), path)
    with np.load(path) as file:
        return Heard(
            [
                (file[f"loudness{n}"].astype(np.float32), file[f"envelopes{n}"].astype(float), file[f"network{n}"])
                for n in range(int(file["n"]))
            ],
            float(file["length"]),
            float(file["seconds"]),
            file["beats"],
            file["downbeats"],
            str(file["metre"]),
            int(file["fold"]),
            bool(file["any_bar"]),
        )


def _keep(made: Recording, path: Path) -> None:
    audio = mono(made.samples, made.rate)
    arrays: dict[str, Any] = {}
    sounds = beats.as_heard(audio)
    for n, sound in enumerate(sounds):
        loud = loudness(sound)
        arrays |= {
            f"loudness{n}": loud.astype(np.float16),
            f"envelopes{n}": envelopes(sound, loud).astype(np.float32),
            f"network{n}": _network().hear(sound),
        }
    unfinished = path.with_suffix(".new.npz")
    np.savez(
        unfinished,
        length=len(audio) / HOP,
        seconds=made.samples.shape[-1] / made.rate,
        n=len(sounds),
        beats=made.beats,
        downbeats=made.downbeats,
        metre=made.metre,
        fold=made.fold,
        any_bar=made.any_bar,
        **arrays,
    )
    unfinished.replace(path)


@cache
def _network() -> BeatNet:
    return BeatNet(packaged.files(BEATNET))


def _examples(recording: Heard, measured: list[Measured], kind: str) -> Examples:
    heard = beats.possible(measured, recording.length)
    possible = [grid for one in heard for grid in one.possible]
    if not possible:
        return Examples(None, [])
    times = [beats.inside(grid.frames, recording.seconds) for grid in possible]
    near = np.array([f_measure(recording.beats, found) if len(found) else 0.0 for found in times])
    readings = [(number, reading) for number, grid in enumerate(possible) for reading in metre.readings(grid)]
    right = np.array([near[number] > _RIGHT and _is_right(reading, recording) for number, reading in readings])
    evidence = metre_model.evidence(heard)
    example = Example(
        kind,
        recording.fold,
        evidence.astype(np.float32),
        np.array([number for number, _ in readings]),
        right,
        near,
        metre_model.features(heard),
        len(recording.beats) > 0,
    )
    return Examples(example, [] if recording.any_bar else _bars(example, heard))


def _bars(example: Example, heard: list[metre_model.Heard]) -> list[Example]:
    result = []
    first = 0
    for one in heard:
        numbers = range(first, first + len(one.possible))
        first = numbers.stop
        best = max(numbers, key=lambda number: example.near[number], default=None)
        if best is None or not example.right[example.answers == best].any():
            continue
        readings = example.answers == best
        nearest = one.possible[best - numbers.start]
        evidence = metre_model.bars_evidence(one.sound, nearest, example.evidence[readings])
        result.append(
            example._replace(
                evidence=evidence.astype(np.float32),
                answers=np.arange(readings.sum()),
                right=example.right[readings],
                near=example.right[readings].astype(float),
                features=np.ones(1),
            )
        )
    return result


def _is_right(reading: metre.Reading, recording: Heard) -> bool:
    """Whether bars are right where beats are."""
    if recording.any_bar:
        return True
    found = beats.inside(reading.downbeats, recording.seconds)
    return reading.metre.name == recording.metre and len(found) > 0 and f_measure(recording.downbeats, found) > _RIGHT
