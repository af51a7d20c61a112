"""The codec on long audio, chunk by chunk: memory does not grow with the length, and sound can be had early."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch

CHUNK = 1500
"""Frames worked on at a time: 30 s at 50 frames per second."""
CONTEXT = 100
"""Frames of surroundings that a chunk is worked on with, enough for the codec's LSTM to settle."""
LOOKAHEAD = 8
"""Frames that a frame's sound depends on to its right; the LSTM looks back only, and the convolutions see 4."""

CodecDecode = Callable[[torch.Tensor], torch.Tensor]
"""Codes [1, codebooks, frames] to audio [1, channels, frames * hop]."""


def stream_decode(
    codec_decode: CodecDecode, tokens: Iterable[torch.Tensor], hop: int, chunk: int = CHUNK
) -> Iterator[torch.Tensor]:
    """Tokens to sound, while more tokens arrive.

    Parameters
    ----------
    tokens : int64 tensors [codebooks, frames] that follow each other
    hop : samples per frame
    chunk : frames worked on at a time

    Yields
    ------
    float tensors [channels, chunk * hop], the last one with what is left
    """
    buffered: torch.Tensor | None = None
    first, done = 0, 0  # the frame that `buffered` begins with, and the frame that sound is there up to
    for codes in itertools.chain(tokens, [None]):
        if codes is not None:
            buffered = codes if buffered is None else torch.cat([buffered, codes], dim=-1)
        if buffered is None:
            return
        known = first + buffered.shape[-1]
        while done < known if codes is None else done + chunk + LOOKAHEAD <= known:
            stop = min(done + chunk, known)
            audio = codec_decode(buffered[None, :, : stop + LOOKAHEAD - first])[0]
            yield audio[:, (done - first) * hop : (stop - first) * hop].cpu()
            done = stop
            buffered = buffered[:, max(first, done - CONTEXT) - first :]
            first = max(first, done - CONTEXT)


def decode(codec_decode: CodecDecode, codes: torch.Tensor, hop: int) -> torch.Tensor:
    """Tokens int64 [codebooks, frames] to sound float [channels, frames * hop], chunk by chunk."""
    return torch.cat(list(stream_decode(codec_decode, [codes], hop)), dim=-1)


def encode(codec_encode: Callable[[torch.Tensor], torch.Tensor], audio: torch.Tensor, hop: int) -> torch.Tensor:
    """Sound to tokens, chunk by chunk.

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
