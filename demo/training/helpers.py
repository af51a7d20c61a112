"""What training takes: half precision, averaged weights, checkpoints."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_service.engine.precision import multiplies_bf16


def half_precision(device: str) -> torch.autocast:
    """Computes in bfloat16 within a `with` block; in float32 on a processor that would only emulate bfloat16."""
    return torch.autocast(device, torch.bfloat16, enabled=device != "cpu" or multiplies_bf16())


def average_in(average: dict[str, Tensor], model: torch.nn.Module, decay: float) -> None:
    """Moves an exponential average of a model's weights on by a step."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)


def save(checkpoint: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint whole or not at all."""
    temporary = checkpoint.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.rename(checkpoint)
