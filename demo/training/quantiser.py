"""The codec's teacher: one codebook for the drums, three for the tones from low to high.

In EnCodec's residual quantiser every codebook refines the one before, so each code depends on all of the sound, and a
repeated bar of drums has different codes under every new chord. Here each codebook is zero outside its own dimensions
of the latent: the format is the same, but repetition in the music is repetition in the codes, which a small language
model can learn.
"""

from dataclasses import dataclass

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from demo.synth import FRAME
from demo.training.features import FEATURES, GROUPS, features

CODEBOOKS = len(GROUPS)
CODEBOOK_SIZE = 512
GROUP_DIMENSION = 16
"""Dimensions of the latent for each codebook. As principal components they keep 89 to 99.9 % of a group's variance."""
LATENT_DIMENSION = CODEBOOKS * GROUP_DIMENSION
FITTED_FRAMES = 60_000  # about 120 for each code; bounds the time that k-means takes
PCA_FRAMES = 20_000  # bounds the time and memory of the decomposition
KMEANS_ITERATIONS = 25  # at most
DRUM_LEVEL = 0.05
"""Mean of the drums' features above which there is a drum; leakage from other instruments stays below 0.04."""


@dataclass
class Quantiser:
    """Features to codes and back.

    Attributes
    ----------
    mean : ``[FEATURES]``
    components : ``[LATENT_DIMENSION, FEATURES]``, principal components of each group, of unit variance on average
    codebooks : ``[CODEBOOKS, CODEBOOK_SIZE, LATENT_DIMENSION]``
    """

    mean: Tensor
    components: Tensor
    codebooks: Tensor

    def to(self, device: str) -> "Quantiser":
        """Copy to another device."""
        return Quantiser(self.mean.to(device), self.components.to(device), self.codebooks.to(device))

    def latent(self, drums: Tensor, others: Tensor) -> Tensor:
        """Compute latents ``[batch, frames, LATENT_DIMENSION]`` of drums and everything else ``[batch, samples]``."""
        return (features(drums, others) - self.mean) @ self.components.T

    def encode(self, latent: Tensor) -> Tensor:
        """Quantise latents ``[batch, frames, LATENT_DIMENSION]`` to codes ``[batch, CODEBOOKS, frames]``."""
        groups = zip(torch.split(latent, GROUP_DIMENSION, dim=-1), self._own_dimensions(), strict=True)
        codes = [torch.cdist(group.flatten(0, 1), book).argmin(1).view(group.shape[:-1]) for group, book in groups]
        return torch.stack(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Convert codes ``[batch, CODEBOOKS, frames]`` to latents ``[batch, frames, LATENT_DIMENSION]``."""
        return torch.stack([book[codes[:, k]] for k, book in enumerate(self.codebooks)]).sum(0)

    def drum_codes(self) -> Tensor:
        """Mask of the first codebook's codes that contain a drum, bool ``[CODEBOOK_SIZE]``."""
        bands = self.codebooks[0] @ torch.linalg.pinv(self.components).T + self.mean
        return bands[:, : GROUPS[0]].mean(1) > DRUM_LEVEL

    def silence_codes(self) -> Tensor:
        """The codes of a frame of silence, ``[CODEBOOKS]``."""
        silence = torch.zeros(1, FRAME)
        return self.encode(self.latent(silence, silence))[0, :, 0]

    def _own_dimensions(self) -> list[Tensor]:
        """The codebooks without their zeros, ``[CODEBOOK_SIZE, GROUP_DIMENSION]`` each."""
        return [book[:, k * GROUP_DIMENSION : (k + 1) * GROUP_DIMENSION] for k, book in enumerate(self.codebooks)]


def fit(frames: Tensor, iterations: int = KMEANS_ITERATIONS, seed: int = 0) -> Quantiser:
    """Fit the quantiser to features ``[frames, FEATURES]``: principal components and k-means for each group."""
    generator = torch.Generator().manual_seed(seed)
    frames = frames[torch.randperm(len(frames), generator=generator)[:FITTED_FRAMES]]
    mean = frames.mean(0)
    components = torch.zeros(LATENT_DIMENSION, FEATURES)
    codebooks = torch.zeros(CODEBOOKS, CODEBOOK_SIZE, LATENT_DIMENSION)
    for k, group in enumerate(torch.split(frames - mean, list(GROUPS), dim=-1)):
        _, _, directions = torch.linalg.svd(group[:PCA_FRAMES], full_matrices=False)
        projected = group @ directions[:GROUP_DIMENSION].T
        own, scale, first = slice(k * GROUP_DIMENSION, (k + 1) * GROUP_DIMENSION), projected.std(), sum(GROUPS[:k])
        components[own, first : first + GROUPS[k]] = directions[:GROUP_DIMENSION] / scale
        # Drums are silent half of the time: uniformly drawn centres would mostly be, and remain, silence. Tones are
        # distributed more evenly; k-means++ would take twice as long and use fewer of the codes (383 of 512 in
        # held-back songs for 428).
        init = "k-means++" if k == 0 else "random"
        clusters = KMeans(CODEBOOK_SIZE, init=init, n_init=1, max_iter=iterations, random_state=seed)
        means = clusters.fit(projected / scale)
        codebooks[k, :, own] = torch.from_numpy(means.cluster_centers_)
    return Quantiser(mean, components, codebooks)
