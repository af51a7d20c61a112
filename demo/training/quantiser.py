"""The teacher of the codec: one codebook for the drums, three for the tones from low to high.

A residual quantiser, as EnCodec has, whose codebooks do not refine one another but look at different things: each is
zero outside its own dimensions. What repeats in music then repeats in the codes. Were a code to say a little of
everything, a bar of drums would come back in other codes under every new chord, and no small language model would
see that it came back.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from demo.synth import FRAME
from demo.training.features import BLOCKS, FEATURES, features

CODES = 512
CODEBOOKS = len(BLOCKS)
SHARE = 16  # dimensions of the latent that a codebook looks at
DIMENSION = CODEBOOKS * SHARE
_SAMPLE = 60_000  # frames that k-means sees
_QUIET = 0.05  # mean of the drums' features, above which one sounds; what leaks into them stays below 0.04


@dataclass
class Quantiser:
    """Features to codes and back.

    Attributes
    ----------
    mean : ``[FEATURES]``
    components : ``[DIMENSION, FEATURES]``, principal components of each block, scaled to unit variance on average
    codebooks : ``[CODEBOOKS, CODES, DIMENSION]``
    """

    mean: Tensor
    components: Tensor
    codebooks: Tensor

    def to(self, device: str) -> "Quantiser":
        """The same on another device."""
        return Quantiser(self.mean.to(device), self.components.to(device), self.codebooks.to(device))

    def latent(self, drums: Tensor, others: Tensor) -> Tensor:
        """The drums of clips and all their other sound ``[batch, samples]`` to ``[batch, frames, DIMENSION]``."""
        return (features(drums, others) - self.mean) @ self.components.T

    def encode(self, latent: Tensor) -> Tensor:
        """``[batch, frames, DIMENSION]`` to codes ``[batch, CODEBOOKS, frames]``."""
        blocks = zip(torch.split(latent, SHARE, dim=-1), self._blocks(), strict=True)
        return torch.stack([_nearest(block.flatten(0, 1), book).view(block.shape[:-1]) for block, book in blocks], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[batch, CODEBOOKS, frames]`` to latents ``[batch, frames, DIMENSION]``."""
        return torch.stack([book[codes[:, k]] for k, book in enumerate(self.codebooks)]).sum(0)

    def sounding(self) -> Tensor:
        """Which of the first codebook's codes have a drum in them, bool ``[CODES]``."""
        bands = self.codebooks[0] @ torch.linalg.pinv(self.components).T + self.mean
        return bands[:, : BLOCKS[0]].mean(1) > _QUIET

    def silence(self) -> Tensor:
        """The codes of a frame of silence, ``[CODEBOOKS]``."""
        silent = torch.zeros(1, FRAME)
        return self.encode(self.latent(silent, silent))[0, :, 0]

    def _blocks(self) -> list[Tensor]:
        """The codebooks without their zeros, ``[CODES, SHARE]`` each."""
        return [book[:, k * SHARE : (k + 1) * SHARE] for k, book in enumerate(self.codebooks)]


def fit(frames: Tensor, rounds: int = 25, seed: int = 0) -> Quantiser:
    """Fits the quantiser to features ``[frames, FEATURES]``."""
    generator = torch.Generator().manual_seed(seed)
    frames = frames[torch.randperm(len(frames), generator=generator)[:_SAMPLE]]
    mean = frames.mean(0)
    components = torch.zeros(DIMENSION, FEATURES)
    codebooks = torch.zeros(CODEBOOKS, CODES, DIMENSION)
    for k, block in enumerate(torch.split(frames - mean, list(BLOCKS), dim=-1)):
        _, _, directions = torch.linalg.svd(block[:20_000], full_matrices=False)
        projected = block @ directions[:SHARE].T
        own, scale, first = slice(k * SHARE, (k + 1) * SHARE), projected.std(), sum(BLOCKS[:k])
        components[own, first : first + BLOCKS[k]] = directions[:SHARE] / scale
        # Drums are silent half of the time; centres drawn at random would mostly be there, and stay.
        start = _far_apart if k == 0 else _anywhere
        codebooks[k, :, own] = _k_means(projected / scale, start(projected / scale, generator), rounds)
    return Quantiser(mean, components, codebooks)


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(points, centres).argmin(1)


def _anywhere(points: Tensor, generator: torch.Generator) -> Tensor:
    """CODES of the points ``[points, SHARE]``, drawn at random."""
    return points[torch.randperm(len(points), generator=generator)[:CODES]].clone()


def _far_apart(points: Tensor, generator: torch.Generator) -> Tensor:
    """CODES of the points, each likelier the farther it is from those before it (k-means++, Arthur and
    Vassilvitskii, 2007)."""
    points = points[:12_000]
    chosen = [0]
    distance = (points - points[0]).square().sum(1)
    for _ in range(CODES - 1):
        chosen.append(int(torch.multinomial(distance.clamp(min=1e-12), 1, generator=generator)))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return points[chosen].clone()


def _k_means(points: Tensor, centres: Tensor, rounds: int) -> Tensor:
    """Lloyd's iterations; a centre that lost all its points stays where it is."""
    for _ in range(rounds):
        nearest = _nearest(points, centres)
        counts = torch.bincount(nearest, minlength=CODES).float()
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
    return centres
