"""Sampling of tokens from logits, with audiocraft's arithmetic; the random numbers are passed in."""

from dataclasses import dataclass

import torch

from musicgen_service.engine.interface import Sampling


@dataclass(frozen=True)
class Controls:
    """Sampling parameters of each slot; every tensor is float32 or int64 [slots, 1, 1]."""

    top_k: torch.Tensor
    top_p: torch.Tensor
    temperature: torch.Tensor
    guidance: torch.Tensor

    @staticmethod
    def create(slots: int, device: torch.device) -> "Controls":
        """Allocate the parameters of `slots` slots."""
        top_k = torch.zeros(slots, 1, 1, dtype=torch.int64, device=device)
        return Controls(top_k, *(torch.zeros(slots, 1, 1, device=device) for _ in range(3)))

    def set(self, slot: int, sampling: Sampling) -> None:
        """Set the parameters of one slot."""
        self.top_k[slot] = sampling.top_k
        self.top_p[slot] = sampling.top_p
        self.temperature[slot] = sampling.temperature
        self.guidance[slot] = sampling.guidance

    def first(self, slots: int) -> "Controls":
        """Return views of the parameters of the first `slots` slots."""
        return Controls(*(tensor[:slots] for tensor in (self.top_k, self.top_p, self.temperature, self.guidance)))

    def of(self, index: torch.Tensor) -> "Controls":
        """Return the parameters of the slots int64 [count]."""
        return Controls(*(tensor[index] for tensor in (self.top_k, self.top_p, self.temperature, self.guidance)))


def guide(conditional: torch.Tensor, unconditional: torch.Tensor, guidance: torch.Tensor | float) -> torch.Tensor:
    """Apply classifier-free guidance to logits of any shape."""
    return unconditional + (conditional - unconditional) * guidance


def draw(
    logits: torch.Tensor, noise: torch.Tensor, controls: Controls, max_top_k: int, uses_top_p: bool
) -> torch.Tensor:
    """Sample one token per slot and codebook.

    Parameters
    ----------
    logits : float32 [slots, codebooks, card]
    noise : exponential random numbers of that shape. The largest `probability / noise` is a sample from the
        probabilities (Gumbel-max), which is also how `torch.multinomial` draws one sample
    max_top_k : the largest `top_k` of any slot; 0 when no slot has one
    uses_top_p : whether any slot has a `top_p`

    Returns
    -------
    int64 tensor [slots, codebooks]
    """
    greedy = controls.temperature == 0
    probabilities = torch.softmax(logits / controls.temperature.masked_fill(greedy, 1.0), dim=-1)
    tokens = _draw_top_k(probabilities, noise, controls.top_k, max_top_k)
    if uses_top_p:
        by_nucleus = _draw_top_p(probabilities, noise, controls.top_p)
        tokens = torch.where(controls.top_p > 0, by_nucleus, tokens)
    return torch.where(greedy, logits.argmax(-1, keepdim=True), tokens)[..., 0]


def _draw_top_k(probabilities: torch.Tensor, noise: torch.Tensor, top_k: torch.Tensor, max_top_k: int) -> torch.Tensor:
    if max_top_k == 0:
        return (probabilities / noise).argmax(-1, keepdim=True)
    max_top_k = min(max_top_k, probabilities.shape[-1])
    ranked = probabilities.topk(max_top_k, dim=-1).values
    last = (top_k.clamp(1, max_top_k) - 1).expand(*probabilities.shape[:-1], 1)
    unlimited = top_k == 0
    # Everything that ties with the k-th value stays, as in audiocraft.
    kept = probabilities * (probabilities >= ranked.gather(-1, last).masked_fill(unlimited, 0.0)).float()
    total = kept.sum(dim=-1, keepdim=True).masked_fill(unlimited, 1.0)
    return (kept / total / noise).argmax(-1, keepdim=True)


def _draw_top_p(probabilities: torch.Tensor, noise: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    ranked, order = probabilities.sort(dim=-1, descending=True)
    kept = ranked * ~(ranked.cumsum(-1) - ranked > top_p)
    return order.gather(-1, (kept / kept.sum(dim=-1, keepdim=True) / noise).argmax(-1, keepdim=True))
