"""The training loop: steps, held-out losses, checkpoints that a killed training goes on from exactly."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.training import files, network, objective
from musicgen_service.training.batches import Batches, Row
from musicgen_service.training.options import Options
from musicgen_service.training.processes import ALONE, Processes

_WARM_UP = 20
"""Steps, at most a tenth of all."""
_LAST_RATE = 0.02
"""Share of the highest learning rate at the last step."""
_CLIP = 1.0
"""Norm to which gradients are clipped."""


@dataclass
class History:
    """What was measured so far.

    Attributes
    ----------
    steps : step and mean loss of its songs
    held_out : step and mean held-out loss; the first, at 0, is the base's
    """

    steps: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)

    @property
    def best(self) -> tuple[int, float]:
        """Step and loss of the lowest held-out loss."""
        return min(self.held_out, key=lambda entry: entry[1])


class Trainer:
    """Trains the LoRA of a model.

    Parameters
    ----------
    model : the network with a LoRA
    pattern : in which its tokens are arranged
    batches : draws the clips of steps
    held_out : clips that are not trained on
    frame_rate : frames per second
    checkpoint : file from which it goes on, if it exists
    processes : those that train together
    """

    def __init__(
        self,
        model: network.PeftModel,
        pattern: DelayPattern,
        options: Options,
        batches: Batches,
        held_out: Sequence[Row],
        frame_rate: int,
        checkpoint: Path,
        processes: Processes = ALONE,
    ) -> None:
        self._model = model
        self._pattern = pattern
        self._options = options
        self._batches = batches
        self._held_out = held_out
        self._opening = frame_rate  # a second
        self._checkpoint = checkpoint
        self._processes = processes
        scale = CHECKPOINTS[options.base].logit_scale
        self._logit_scale = torch.tensor(scale)[None, :, None, None] if scale else None
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.AdamW(self._trained, lr=options.rate, weight_decay=0.0)
        self.history = History()
        self.step = 0
        """Number of steps done."""
        self.best: dict[str, torch.Tensor] = {}
        """Weights of the LoRA at the lowest held-out loss."""
        if checkpoint.is_file():
            self._resume(files.load(checkpoint))

    @property
    def has_ended(self) -> bool:
        """Whether all steps are done, or the held-out loss has stopped to fall."""
        best, _ = self.history.best
        return self.step >= self._options.steps or self.step - best >= self._options.patience * self._options.every

    def run(self, on_step: Callable[[int, float], None], on_evaluation: Callable[[], None]) -> None:
        """Train until it has ended.

        Parameters
        ----------
        on_step : called after each step with its number and its loss
        on_evaluation : called after each evaluation, when the checkpoint is written, and where a training goes on
        """
        if not self.history.held_out:
            self._evaluate()
        on_evaluation()
        while not self.has_ended:
            loss = self._train_step()
            on_step(self.step, loss)
            if self.step % self._options.every == 0 or self.step == self._options.steps:
                self._evaluate()
                on_evaluation()

    def _train_step(self) -> float:
        """Train on the clips of a step; returns the mean loss of those of the songs."""
        self._model.train()
        for group in self._optimiser.param_groups:
            group["lr"] = self._options.rate * _schedule(self.step, self._options.steps)
        total = 0.0
        for row in self._processes.share(self._batches.of_step(self.step)):
            if row.is_kept:
                loss = self._options.kept * self._distance(row)
            else:
                loss = self._loss(row, self._weights(row)) / self._options.batch
                total += float(loss.detach())
            loss.backward()  # type: ignore[no-untyped-call]
        self._processes.add_gradients(self._trained)
        total = self._processes.total(total)
        torch.nn.utils.clip_grad_norm_(self._trained, _CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.history.steps.append((self.step, total))
        return total

    @torch.no_grad()
    def _evaluate(self) -> None:
        """Measure the held-out loss, keep the weights if it is the lowest, and write the checkpoint."""
        self._model.eval()
        losses = [float(self._loss(row)) for row in self._processes.share(self._held_out)]
        loss = self._processes.total(sum(losses)) / len(self._held_out)
        self.history.held_out.append((self.step, loss))
        weights = {name: tensor.detach().cpu().clone() for name, tensor in network.weights_of(self._model).items()}
        if self.history.best[0] == self.step:
            self.best = weights
        state: dict[str, Any] = {
            "step": self.step,
            "weights": weights,
            "optimiser": self._optimiser.state_dict(),
            "steps": self.history.steps,
            "held_out": self.history.held_out,
            "best": self.best,
        }
        if self._processes.is_main:
            files.save(self._checkpoint, state)

    def _resume(self, state: dict[str, Any]) -> None:
        network.set_weights(self._model, state["weights"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.history = History(list(state["steps"]), list(state["held_out"]))
        self.best = state["best"]

    def _weights(self, row: Row) -> torch.Tensor:
        """Weights of a row's frames."""
        return objective.opening_weights(row.tokens.shape[-1], self._opening, self._options.opening)

    def _loss(self, row: Row, weights: torch.Tensor | None = None) -> torch.Tensor:
        return objective.cross_entropy(self._logits(row), row.tokens, weights).mean()

    def _distance(self, row: Row) -> torch.Tensor:
        with torch.no_grad(), self._model.disable_adapter():
            reference = self._logits(row)
        return objective.distance(self._logits(row), reference, self._weights(row)).mean()

    def _logits(self, row: Row) -> torch.Tensor:
        """Logits of a row's tokens, as the base was trained: float [1, codebooks, frames, card]."""
        columns = objective.arrange(self._pattern, row.heard)
        device = row.tokens.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = self._model(columns[..., :-1], row.condition)
        by_frame = objective.frame_logits(self._pattern, logits, row.tokens.shape[-1])
        return by_frame if self._logit_scale is None else by_frame / self._logit_scale.to(by_frame)


def _schedule(step: int, steps: int) -> float:
    """The share of the highest learning rate at a step: a linear warm-up, then a cosine."""
    warm_up = max(1, min(_WARM_UP, steps // 10))
    cosine = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / warm_up) * cosine
