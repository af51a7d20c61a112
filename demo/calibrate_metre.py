"""Fits how far probabilities of beats can be trusted, and writes it beside the weights of `demo.fit_metre`.

    python -m bench.rendered --clips 200 && python -m demo.calibrate_metre

Beats of recordings that the weights were not fitted to are found as the service finds them. A logistic regression
(Platt, 1999) of whether they are right, octave and phase included, on the log-odds of their probability and on how
short the recording is, gives the confidence. Where beats are found in sounds without any, they are wrong.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy
from mir_eval.beat import f_measure
from numpy.typing import NDArray

from demo import fit_metre, metre_examples, metre_recordings
from demo.metre_examples import BEATS_RIGHT, Heard
from demo.metre_recordings import CALIBRATING, WEIGHTS, Maker
from musicgen_service.analysis import beats, metre_model
from musicgen_service.analysis.metre_model import MODELS

Array = NDArray[np.float64]


class Found(NamedTuple):
    """Beats that were found in a recording: its kind, what `metre_model.trusting` tells, and whether they are right."""

    kind: str
    trusting: Array
    is_right: bool


def found(maker: Maker, folder: Path) -> tuple[Found | None, Found | None]:
    """The beats that are found with the network, and without it; None where there are none.

    Parameters
    ----------
    folder : where what is heard is kept
    """
    heard = metre_examples.heard(maker, folder)
    return _found(heard, maker.kind), _found(metre_examples.without_network(heard), maker.kind)


def _found(recording: Heard, kind: str) -> Found | None:
    plain = {name: each._replace(calibration=fit_metre.UNCALIBRATED) for name, each in metre_model.weights().items()}
    candidates = metre_model.candidates(beats.hearings(recording.rows, recording.length), None, plain)
    if not candidates:
        return None
    best = candidates[0]
    times = beats.inside(best.beats.frames, recording.seconds)
    is_right = len(times) > 0 and f_measure(recording.beats, times) > BEATS_RIGHT
    return Found(kind, metre_model.trusting(best.probability, recording.seconds), bool(is_right))


def calibration(readings: Sequence[Found]) -> Array:
    """Fit the weights of what `metre_model.trusting` returns; kinds of recordings count as they do in the other fit."""
    rows = np.array([each.trusting for each in readings])
    signs = np.where([each.is_right for each in readings], 1.0, -1.0)
    counts = np.array([WEIGHTS[each.kind] for each in readings])

    def loss(line: Array) -> float:
        return float(np.average(np.logaddexp(0, -signs * (rows @ line)), weights=counts))

    result: Array = scipy.optimize.minimize(loss, fit_metre.UNCALIBRATED, method="Nelder-Mead").x
    return result


def main() -> None:
    """Fit both models' calibration and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=fit_metre.FOLDER, help="where what is heard is kept")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with Pool(options.processes) as pool:
        hear = partial(found, folder=options.folder)
        every = list(pool.imap(hear, metre_recordings.makers(CALIBRATING), chunksize=4))
    weights = dict(metre_model.weights())
    for number, name in enumerate(MODELS):
        readings = [each for both in every if (each := both[number])]
        line = calibration(readings)
        right = np.mean([each.is_right for each in readings])
        print(f"{name}: {right:.2f} of {len(readings)} right; weights {line.round(4).tolist()}")
        weights[name] = weights[name]._replace(calibration=line)
    fit_metre.write(weights)


if __name__ == "__main__":
    main()
