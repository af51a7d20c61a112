"""The networks of `musicgen_service.analysis.beat_network` as they are fitted, in torch."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import elu

from musicgen_service.analysis.beat_network import LAYERS, TEMPI

CHANNELS, TAPS, IN_TAPS, TEMPO_UNITS = 32, 5, 3, 32
_DROPOUT = 0.1


class Layer(nn.Module):
    """A dilated convolution, and a mixture of its channels that is added to what comes in."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilated = nn.Conv1d(CHANNELS, CHANNELS, TAPS, padding=TAPS // 2 * dilation, dilation=dilation)
        self.mix = nn.Conv1d(CHANNELS, CHANNELS, 1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """What is added, ``[batch, channels, frames]``."""
        inner = nn.functional.dropout1d(elu(self.dilated(hidden)), _DROPOUT, self.training)
        result: torch.Tensor = self.mix(inner)
        return result


class Network(nn.Module):
    """One network.

    Parameters
    ----------
    features : of the inputs
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(features, CHANNELS, IN_TAPS, padding=IN_TAPS // 2)
        self.layers = nn.ModuleList(Layer(2**number) for number in range(LAYERS))
        self.out = nn.Conv1d(CHANNELS, 2, 1)
        self.tempo, self.tempo_out = nn.Linear(CHANNELS * LAYERS, TEMPO_UNITS), nn.Linear(TEMPO_UNITS, len(TEMPI))

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of beats and downbeats, and of tempi.

        Parameters
        ----------
        inputs : ``[batch, features, frames]``
        mask : 1 where a recording is, 0 after its end, ``[batch, frames]``

        Returns
        -------
        ``[batch, 2, frames]`` and ``[batch, tempi]``
        """
        inside = mask[:, None]
        hidden = elu(self.first(inputs)) * inside
        pooled = []
        for layer in self.layers:
            inner = layer(hidden) * inside
            hidden = hidden + inner
            pooled.append((elu(inner) * inside).sum(2) / inside.sum(2))
        together = nn.functional.dropout(torch.cat(pooled, 1), _DROPOUT, self.training)
        return self.out(elu(hidden)), self.tempo_out(elu(self.tempo(together)))

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The weights by the names that `beat_network` has for them."""
        modules: dict[str, Any] = {"in": self.first, "out": self.out, "tempo": self.tempo, "tempo.out": self.tempo_out}
        for number, layer in enumerate(self.layers):
            modules |= {f"layer.{number}": layer.dilated, f"layer.{number}.mix": layer.mix}
        found = {}
        for name, module in modules.items():
            weight = module.weight.detach().numpy()
            # Convolutions of one tap are products.
            found[f"{name}.weight"] = weight[..., 0] if weight.ndim == 3 and weight.shape[2] == 1 else weight
            found[f"{name}.bias"] = module.bias.detach().numpy()
        return found
