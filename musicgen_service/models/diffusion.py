"""MultiBand Diffusion: a slower decoder with cleaner sound (arXiv:2308.02560)."""

from pathlib import Path
from typing import Any

import torch

from musicgen_service.engine import chunks, global_generator
from musicgen_service.models import loading
from musicgen_service.models.encodec import StereoEncodec
from musicgen_service.models.musicgen import MusicGenModel


class Diffusion:
    """Decodes the tokens of a mono or stereo model by diffusion.

    Parameters
    ----------
    model : the model that generates the tokens
    folder : of the component with the weights of the diffusion

    Raises
    ------
    WeightsError
        When the weights are damaged.
    """

    def __init__(self, model: MusicGenModel, folder: Path) -> None:
        self._model = model
        self._diffusion: Any = loading.load_diffusion(model, folder)

    @torch.no_grad()
    def decode(self, tokens: torch.Tensor, seed: int) -> torch.Tensor:
        """Decode tokens.

        Parameters
        ----------
        tokens : int64 [codebooks, frames]
        seed : of the noise that the diffusion starts from

        Returns
        -------
        float tensor [channels, frames * hop]
        """
        with global_generator.exclusive(self._model.device):
            torch.manual_seed(seed)
            return chunks.decode(self._decode_chunk, tokens.to(self._model.device), self._model.hop)

    def _decode_chunk(self, codes: torch.Tensor) -> torch.Tensor:
        codec = self._model.codec
        if not isinstance(codec, StereoEncodec):
            return self._diffusion.tokens_to_wav(codes)
        # The diffusion is mono: left and right are decoded as a batch of two.
        left_right = torch.cat(codec.left_right(codes))
        return self._diffusion.tokens_to_wav(left_right).transpose(0, 1)
