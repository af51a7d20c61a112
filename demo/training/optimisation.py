"""Parts of a training loop: half precision, learning rates, averaged weights."""

import math

import torch
from torch import Tensor

from musicgen_service.engine.linear import supports_bf16


def half_precision(device: str) -> torch.autocast:
    """A context that computes in bfloat16; in float32 on a processor that only emulates bfloat16."""
    return torch.autocast(device, torch.bfloat16, enabled=device != "cpu" or supports_bf16())


def learning_rate(peak: float, step: int, steps: int, warm_up: int) -> float:
    """A linear warm-up to `peak`, then a cosine down to a fiftieth of it at the last of `steps`."""
    return peak * min(1, (step + 1) / warm_up) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))


def update_average(average: dict[str, Tensor], model: torch.nn.Module, decay: float) -> None:
    """Update an exponential average of a model's weights."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)


class ReducedRate:
    """Applies a fraction of the learning rate to some of a model's weights.

    Adam changes every weight by about the learning rate, however small its gradient: at the full rate, carefully
    initialised weights would be lost within a hundred steps.

    Parameters
    ----------
    masks : by parameter name, the weights with the reduced rate, bool of the parameter's shape
    """

    def __init__(self, model: torch.nn.Module, masks: dict[str, Tensor], share: float) -> None:
        parameters = dict(model.named_parameters())
        self.slow = [(parameters[name], mask.to(parameters[name].device)) for name, mask in masks.items() if mask.any()]
        self.share = share

    @torch.no_grad()
    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Run a step of the optimiser, and apply only `share` of it to the masked weights."""
        before = [parameter.clone() for parameter, _ in self.slow]
        optimiser.step()
        for (parameter, mask), old in zip(self.slow, before, strict=True):
            parameter.copy_(torch.where(mask, old.lerp(parameter, self.share), parameter))
