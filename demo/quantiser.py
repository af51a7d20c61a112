"""The teacher of the codec: principal components of the features, quantised in four rounds by k-means."""

from dataclasses import dataclass

import torch
from torch import Tensor

from demo.features import features

CODEBOOKS = 4
CODES = 512
DIMENSION = 64
_SAMPLE = 60_000  # frames that k-means sees


@dataclass
class Quantiser:
    """Features to codes and back.

    Attributes
    ----------
    mean : ``[features]``
    components : ``[DIMENSION, features]``, scaled so that latents have unit variance on average
    codebooks : ``[CODEBOOKS, CODES, DIMENSION]``; each refines what those before it left
    """

    mean: Tensor
    components: Tensor
    codebooks: Tensor

    def latent(self, audio: Tensor) -> Tensor:
        """``[batch, samples]`` to ``[batch, frames, DIMENSION]``."""
        return (features(audio) - self.mean) @ self.components.T

    def encode(self, latent: Tensor) -> Tensor:
        """``[batch, frames, DIMENSION]`` to codes ``[batch, CODEBOOKS, frames]``."""
        residual, codes = latent, []
        for codebook in self.codebooks:
            index = torch.cdist(residual.flatten(0, 1), codebook).argmin(-1).view(residual.shape[:-1])
            codes.append(index)
            residual = residual - codebook[index]
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[batch, CODEBOOKS, frames]`` to latents ``[batch, frames, DIMENSION]``."""
        return torch.stack([book[codes[:, k]] for k, book in enumerate(self.codebooks)]).sum(0)


def fit(frames: Tensor, rounds: int = 25, seed: int = 0) -> Quantiser:
    """Fits the quantiser to features ``[frames, features]``."""
    generator = torch.Generator().manual_seed(seed)
    frames = frames[torch.randperm(len(frames), generator=generator)[:_SAMPLE]]
    mean = frames.mean(0)
    _, _, directions = torch.linalg.svd((frames - mean)[:20_000], full_matrices=False)
    components = directions[:DIMENSION]
    latents = (frames - mean) @ components.T
    scale = latents.std()
    residual, codebooks = latents / scale, []
    for _ in range(CODEBOOKS):
        codebook = _k_means(residual, rounds, generator)
        residual = residual - codebook[torch.cdist(residual, codebook).argmin(1)]
        codebooks.append(codebook)
    return Quantiser(mean, components / scale, torch.stack(codebooks))


def _k_means(points: Tensor, rounds: int, generator: torch.Generator) -> Tensor:
    """Lloyd's iterations; a centre that lost all its points starts again at a random one."""

    def some(count: int) -> Tensor:
        return points[torch.randint(len(points), (count,), generator=generator)]

    centres = points[torch.randperm(len(points), generator=generator)[:CODES]].clone()
    for _ in range(rounds):
        nearest = torch.cdist(points, centres).argmin(1)
        counts = torch.bincount(nearest, minlength=CODES).float()
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], some(CODES))
    return centres
