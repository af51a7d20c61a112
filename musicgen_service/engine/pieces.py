"""Codec work on long audio in pieces, so that memory does not grow with the length."""

from collections.abc import Callable

import torch

PIECE = 1500
"""Frames worked on at a time: 30 s at 50 frames per second."""
CONTEXT = 100
"""Frames of surroundings on either side, enough for the codec's LSTM to settle."""


def decode(codec_decode: Callable[[torch.Tensor], torch.Tensor], codes: torch.Tensor, hop: int) -> torch.Tensor:
    """Tokens to sound, piece by piece.

    Parameters
    ----------
    codec_decode : codes [1, codebooks, frames] to audio [1, channels, frames * hop]
    codes : int64 [codebooks, frames]
    hop : samples per frame

    Returns
    -------
    float tensor [channels, frames * hop]
    """
    frames = codes.shape[-1]
    pieces = []
    for start in range(0, frames, PIECE):
        stop = min(start + PIECE, frames)
        first, last = max(0, start - CONTEXT), min(frames, stop + CONTEXT)
        audio = codec_decode(codes[None, :, first:last])[0]
        pieces.append(audio[:, (start - first) * hop : (stop - first) * hop].cpu())
    return torch.cat(pieces, dim=-1)


def encode(codec_encode: Callable[[torch.Tensor], torch.Tensor], audio: torch.Tensor, hop: int) -> torch.Tensor:
    """Sound to tokens, piece by piece.

    Parameters
    ----------
    codec_encode : audio [1, channels, samples] to codes [1, codebooks, ceil(samples / hop)]
    audio : float tensor [channels, samples]
    hop : samples per frame

    Returns
    -------
    int64 tensor [codebooks, ceil(samples / hop)]
    """
    frames = -(-audio.shape[-1] // hop)
    pieces = []
    for start in range(0, frames, PIECE):
        stop = min(start + PIECE, frames)
        first, last = max(0, start - CONTEXT), min(frames, stop + CONTEXT)
        codes = codec_encode(audio[None, :, first * hop : last * hop])[0]
        pieces.append(codes[:, start - first : stop - first])
    return torch.cat(pieces, dim=-1)
