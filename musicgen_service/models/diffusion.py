"""MultiBand Diffusion: a slower decoder with cleaner sound (arXiv:2308.02560)."""

from pathlib import Path
from typing import Any

import torch

from musicgen_service.engine import global_generator
from musicgen_service.models import loading
from musicgen_service.models.encodec import StereoEncodec
from musicgen_service.models.musicgen import MusicGenModel

_CHUNK = 1500
"""Frames decoded at a time: 30 s at 50 frames per second."""
_CONTEXT, _LOOKAHEAD = 100, 8
"""Frames around a chunk that its sound depends on."""


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
            return self._decode_in_chunks(tokens.to(self._model.device))

    def _decode_in_chunks(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decode chunk by chunk: bounded memory."""
        frames, hop = tokens.shape[-1], self._model.hop
        pieces = []
        for start in range(0, frames, _CHUNK):
            first, stop = max(0, start - _CONTEXT), min(start + _CHUNK, frames)
            audio = self._decode_chunk(tokens[None, :, first : stop + _LOOKAHEAD])[0]
            pieces.append(audio[:, (start - first) * hop : (stop - first) * hop].cpu())
        return torch.cat(pieces, dim=-1)

    def _decode_chunk(self, codes: torch.Tensor) -> torch.Tensor:
        codec = self._model.codec
        if not isinstance(codec, StereoEncodec):
            return self._diffusion.tokens_to_wav(codes)
        # The diffusion is mono: left and right are decoded as a batch of two.
        left_right = torch.cat(codec.left_right(codes))
        return self._diffusion.tokens_to_wav(left_right).transpose(0, 1)
