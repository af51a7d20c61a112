"""One token loop for every network that brings none: the engine's delay pattern, its guidance, and top-k sampling."""

from bench.peers.interface import Network
from musicgen_service.engine.interface import OnStep, Sampling
from musicgen_service.engine.pattern import UNKNOWN, DelayPattern
from musicgen_service.engine.sampling import guide

import torch


class Stepwise:
    """A `Peer` made of a network.

    Parameters
    ----------
    network : predicts columns
    pattern : arranges tokens in columns
    device : of the network
    sampling : top-k, temperature and guidance; at temperature 0 the likeliest token
    """

    takes_prefix = True

    def __init__(
        self, network: Network, pattern: DelayPattern, device: torch.device, sampling: Sampling | None = None
    ) -> None:
        self._network = network
        self._pattern = pattern
        self._device = device
        self._sampling = sampling or Sampling()

    @torch.no_grad()
    def generate(self, prefix: torch.Tensor | None, frames: int, on_step: OnStep) -> torch.Tensor:
        """See `Peer.generate`."""
        known = 0 if prefix is None else prefix.shape[-1]
        columns = self._pattern.layout(prefix, known + frames).to(self._device)
        self._network.reset()
        total, taken = columns.shape[1] - 1 - known, 0
        for step in range(1, total + 1):
            column = columns[:, known + step]
            drawn = self._draw(self._network(columns[:, taken : known + step]))
            columns[:, known + step] = torch.where(column == UNKNOWN, drawn, column)
            taken = known + step
            on_step(step, total)
        return self._pattern.frames(columns, known + frames)

    @torch.no_grad()
    def score(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Peer.score`; a column at a time, as in generation, so that the products are those of a step."""
        columns = self._pattern.layout(tokens, tokens.shape[-1]).to(self._device)
        self._network.reset()
        predicted = [self._guided(self._network(columns[:, [column]])) for column in range(columns.shape[1] - 1)]
        # Nothing predicts the first column.
        return self._pattern.frames(torch.stack([predicted[0], *predicted], dim=1), tokens.shape[-1]).cpu()

    def _guided(self, logits: torch.Tensor) -> torch.Tensor:
        conditional, unconditional = logits.float()
        return guide(conditional, unconditional, self._sampling.guidance)

    def _draw(self, logits: torch.Tensor) -> torch.Tensor:
        """Draw a token int64 [codebooks] from logits [2, codebooks, card]."""
        guided = self._guided(logits)
        if self._sampling.temperature == 0:
            return guided.argmax(-1)
        likeliest = (guided / self._sampling.temperature).softmax(-1).topk(min(self._sampling.top_k, guided.shape[-1]))
        return likeliest.indices.gather(-1, torch.multinomial(likeliest.values, 1))[:, 0]
