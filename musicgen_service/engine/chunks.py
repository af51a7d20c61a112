"""Encoding of long audio, and its decoding by diffusion, chunk by chunk: bounded memory."""

from collections.abc import Callable

import torch

CHUNK = 1500
"""Frames processed at a time: 30 s at 50 frames per second."""
CONTEXT = 100
"""Frames of context on either side of a chunk, enough for the codec's LSTM state to converge."""
LOOKAHEAD = 8
"""Future frames that a frame's audio depends on; the LSTM is causal, and the convolutions see 4 frames ahead."""

CodecDecode = Callable[[torch.Tensor], torch.Tensor]
"""Codes [1, codebooks, frames] to audio [1, channels, frames * hop]."""


def decode(codec_decode: CodecDecode, codes: torch.Tensor, hop: int) -> torch.Tensor:
    """Decode tokens int64 [codebooks, frames] to audio float [channels, frames * hop], chunk by chunk."""
    frames = codes.shape[-1]
    pieces = []
    for start in range(0, frames, CHUNK):
        first, stop = max(0, start - CONTEXT), min(start + CHUNK, frames)
        audio = codec_decode(codes[None, :, first : stop + LOOKAHEAD])[0]
        pieces.append(audio[:, (start - first) * hop : (stop - first) * hop].cpu())
    return torch.cat(pieces, dim=-1)


def encode(codec_encode: Callable[[torch.Tensor], torch.Tensor], audio: torch.Tensor, hop: int) -> torch.Tensor:
    """Encode audio to tokens, chunk by chunk.

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
    chunks = []
    for start in range(0, frames, CHUNK):
        stop = min(start + CHUNK, frames)
        first, last = max(0, start - CONTEXT), min(frames, stop + CONTEXT)
        codes = codec_encode(audio[None, :, first * hop : last * hop])[0]
        chunks.append(codes[:, start - first : stop - first])
    return torch.cat(chunks, dim=-1)
