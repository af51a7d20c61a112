"""Fits the models of beats and of bars (`musicgen_service/analysis/metre_weights.json` and `bar_weights.json`).

    python -m bench.rendered --clips 1200 --split training
    python -m demo.fit_beat_network && python -m demo.fit_metre

The readings of one recording and "no beat" compete in a softmax (McFadden's conditional logit, with a small hidden
layer), and the likelihood of the right ones is maximised, of the recordings of `demo.metre_recordings`. In a second
model, readings with the right beats compete for which of these begin bars; there, "no beat" is never right.
Cross-validation calibrates the probabilities. Of each there are two: for what is heard with BeatNet's networks, and
for where they are not installed. What was heard of each recording is kept in `--folder`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from demo import metre_examples
from demo.metre_examples import Example
from demo.metre_recordings import FOLDS, WEIGHTS
from musicgen_service.analysis import conditional_logit, metre_model
from musicgen_service.analysis.conditional_logit import MODELS, Weights

Array = NDArray[np.float64]
UNITS = 16  # hidden ones, of each fold's fit
EPOCHS, BATCH, RATE = 16, 48, 1e-2
SHRINKAGE, NO_BEAT_SHRINKAGE = 5e-3, 3e-3  # L2 penalties on scaled weights
KEPT = 0.4  # of wrong answers in each epoch: the others teach little
_ENOUGH = 0.8  # F-measure of an answer from which a confidence in it was justified
PLACE = Path(metre_model.__file__).parent


class Fit:
    """A fit of the weights of one model, by Adam.

    Parameters
    ----------
    examples : of which those without a right reading, and with a beat, teach nothing
    seed : of the first weights, and of what is left out in each epoch
    """

    def __init__(self, examples: Sequence[Example], seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._examples = [e for e in examples if e.right.any() or not e.has_beat]
        count = sum(len(e.evidence) for e in self._examples)
        self._mean = sum(e.evidence.sum(axis=0, dtype=float) for e in self._examples) / count
        squares = sum(((e.evidence - self._mean) ** 2).sum(axis=0) for e in self._examples)
        self._spread = np.sqrt(squares / count) + 1e-3
        features = np.array([e.features for e in self._examples])
        # All but the first, which is constant, are centred.
        self._centre = np.append(0, features[:, 1:].mean(axis=0))
        self._own_spread = np.append(1, features[:, 1:].std(axis=0) + 1e-6)
        self._features = torch.tensor((features - self._centre) / self._own_spread, dtype=torch.float32)
        self._weight = torch.tensor([WEIGHTS[e.kind] for e in self._examples])
        self._weight /= self._weight.mean()
        draw = torch.Generator().manual_seed(seed)
        count = len(self._mean)
        self._linear = torch.zeros(count, requires_grad=True)
        self._hidden = (torch.randn(count, UNITS, generator=draw) / count**0.5).requires_grad_()
        self._bias = torch.zeros(UNITS, requires_grad=True)
        self._out = (0.1 * torch.randn(UNITS, generator=draw)).requires_grad_()
        self._no_beat = torch.zeros(features.shape[1], requires_grad=True)

    def run(self) -> Weights:
        """Fit; the calibration is not."""
        parameters = [self._linear, self._hidden, self._bias, self._out, self._no_beat]
        optimiser = torch.optim.Adam(parameters, RATE)
        steps = EPOCHS * -(-len(self._examples) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        for _ in range(EPOCHS):
            order = self._random.permutation(len(self._examples))
            for start in range(0, len(order), BATCH):
                optimiser.zero_grad()
                self._loss(order[start : start + BATCH]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
        return self._weights()

    def _loss(self, chosen: NDArray[np.int64]) -> torch.Tensor:
        """Mean negative logarithm of the likelihood of the right readings, and the penalties."""
        parts = [self._drawn(self._examples[number]) for number in chosen]
        evidence = torch.from_numpy(np.concatenate([part[0] for part in parts]))
        right = torch.from_numpy(np.concatenate([part[1] for part in parts]))
        more = torch.from_numpy(np.concatenate([part[2] for part in parts]))
        owner = torch.from_numpy(np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts]))
        scores = evidence @ self._linear + torch.tanh(evidence @ self._hidden + self._bias) @ self._out
        none = self._features[chosen] @ self._no_beat
        has_none = torch.tensor([not self._examples[number].has_beat for number in chosen])
        highest = none.detach().scatter_reduce(0, owner, (scores + more).detach(), "amax")
        likelihood, none = torch.exp(scores + more - highest[owner]), torch.exp(none - highest)
        total = none.index_add(0, owner, likelihood)
        hits = (none * has_none).index_add(0, owner, likelihood * right)
        loss = (self._weight[chosen] * (total.log() - (hits + 1e-12).log())).mean()
        sizes = (self._linear**2).sum() + (self._hidden**2).sum() + (self._out**2).sum()
        return loss + SHRINKAGE * sizes + NO_BEAT_SHRINKAGE * (self._no_beat[1:] ** 2).sum()

    def _drawn(self, example: Example) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
        """Evidence of readings with right answers and of some others, whether each is right, and what scores gain."""
        has_right = np.bincount(example.answers, example.right) > 0
        kept = (has_right | (self._random.random(len(has_right)) < KEPT))[example.answers]
        evidence = (example.evidence[kept] - self._mean) / self._spread
        # Those that are kept stand for those that are not.
        more = np.where(has_right[example.answers[kept]], 0.0, -np.log(KEPT))
        return evidence.astype(np.float32), example.right[kept], more.astype(np.float32)

    def _weights(self) -> Weights:
        """Undo the scaling."""
        linear, hidden, bias, out, no_beat = (
            part.detach().numpy().astype(float)
            for part in (self._linear, self._hidden, self._bias, self._out, self._no_beat)
        )
        linear, hidden, no_beat = linear / self._spread, hidden / self._spread[:, None], no_beat / self._own_spread
        no_beat[0] += self._mean @ linear - self._centre @ no_beat
        return Weights(linear, hidden, bias - self._mean @ hidden, out, no_beat, np.array([1.0, 0.0]))


def fit(examples: Sequence[Example]) -> Weights:
    """Fit weights by cross-validation: the fits of all folds side by side, calibrated on what each has not learnt.

    Prints of each kind of recording the share whose answer is right, or is none where there are no beats.
    """
    fits, shares, hits = [], [], []
    right: dict[str, list[bool]] = {}
    for fold in range(FOLDS):
        fits.append(Fit([e for e in examples if e.fold != fold], fold).run())
        for e in (e for e in examples if e.fold == fold):
            found, none = conditional_logit.softmax(fits[-1], e.evidence, e.features)
            by_answer = np.bincount(e.answers, found)
            is_right = bool(e.near[by_answer.argmax()] > _ENOUGH)
            if e.has_beat:
                shares.append(by_answer.max())
                hits.append(is_right)
            right.setdefault(e.kind, []).append((none > metre_model.NO_BEAT) != e.has_beat and is_right == e.has_beat)
    print(", ".join(f"{kind} {np.mean(each):.2f} of {len(each)}" for kind, each in right.items()), flush=True)
    return mean(fits)._replace(calibration=_calibration(np.array(shares), np.array(hits)))


def mean(fits: Sequence[Weights]) -> Weights:
    """One model whose scores are the means of those of several."""
    return Weights(
        linear=np.mean([fit.linear for fit in fits], axis=0),
        hidden=np.concatenate([fit.hidden for fit in fits], axis=1),
        bias=np.concatenate([fit.bias for fit in fits]),
        out=np.concatenate([fit.out for fit in fits]) / len(fits),
        no_beat=np.mean([fit.no_beat for fit in fits], axis=0),
        calibration=fits[0].calibration,
    )


def _calibration(shares: Array, hits: NDArray[np.bool_]) -> Array:
    """Fit slope and offset of Platt's logistic regression."""
    odds = conditional_logit.log_odds(shares)

    def loss(line: Array) -> float:
        expected = line[0] * odds + line[1]
        return float(np.logaddexp(0, np.where(hits, -expected, expected)).mean())

    result: Array = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return result


def write(found: dict[str, Weights], place: Path) -> None:
    """Write the weights of MODELS."""
    rounded = {
        name: {part: np.round(numbers, 4).tolist() for part, numbers in weights._asdict().items()}
        for name, weights in found.items()
    }
    # A line for each feature.
    place.write_text(json.dumps(rounded).replace("], [", "],\n[").replace('], "', '],\n"') + "\n")


def main() -> None:
    """Fit all models and write their weights."""
    torch.set_num_threads(1)  # sums, and so the weights, depend on their number
    learned = metre_examples.from_command_line(__doc__ or "", metre_examples.examples)
    beats, bars = {}, {}
    for number, name in enumerate(MODELS):
        print(name)
        beats[name] = fit([example for both in learned if (example := both[number].beats)])
        bars[name] = fit([example for both in learned for example in both[number].bars])
    write(beats, PLACE / metre_model.BEAT_WEIGHTS)
    write(bars, PLACE / metre_model.BAR_WEIGHTS)


if __name__ == "__main__":
    main()
