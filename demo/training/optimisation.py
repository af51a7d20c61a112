"""Parts of a training loop: half precision, learning rates, averaged weights."""

import math

import torch
from torch import Tensor

from musicgen_service.engine.precision import supports_bf16


def half_precision(device: str) -> torch.autocast:
    """Computes in bfloat16 within a `with` block; in float32 on a processor that would only emulate bfloat16."""
    return torch.autocast(device, torch.bfloat16, enabled=device != "cpu" or supports_bf16())


def learning_rate(peak: float, step: int, steps: int, warm_up: int) -> float:
    """A linear warm-up to `peak`, then a cosine down to a fiftieth of it at the last of `steps`."""
    return peak * min(1, (step + 1) / warm_up) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))


def average_in(average: dict[str, Tensor], model: torch.nn.Module, decay: float) -> None:
    """Move an exponential average of a model's weights on by a step."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)


class ReducedRate:
    """Lets some of a model's weights learn at a share of the optimiser's rate.

    Adam moves every weight by about the learning rate, however small its gradient: at the full rate, start values that
    hold knowledge would be lost within a hundred steps.

    Parameters
    ----------
    masks : by parameter name, which of its weights learn more slowly, bool like the parameter
    """

    def __init__(self, model: torch.nn.Module, masks: dict[str, Tensor], share: float) -> None:
        parameters = dict(model.named_parameters())
        self.slow = [(parameters[name], mask.to(parameters[name].device)) for name, mask in masks.items() if mask.any()]
        self.share = share

    @torch.no_grad()
    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """A step of the optimiser, of which the slow weights take their share."""
        before = [parameter.clone() for parameter, _ in self.slow]
        optimiser.step()
        for (parameter, mask), old in zip(self.slow, before, strict=True):
            parameter.copy_(torch.where(mask, old.lerp(parameter, self.share), parameter))
