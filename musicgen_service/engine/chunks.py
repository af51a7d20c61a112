"""Chunked encoding and decoding of long audio: bounded memory, and the first audio is available early."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch

CHUNK = 1500
"""Frames processed at a time: 30 s at 50 frames per second."""
CONTEXT = 100
"""Frames of context on either side of a chunk, enough for the codec's LSTM state to converge."""
LOOKAHEAD = 8
"""Future frames that a frame's audio depends on; the LSTM is causal, and the convolutions see 4 frames ahead."""

CodecDecode = Callable[[torch.Tensor], torch.Tensor]
"""Codes [1, codebooks, frames] to audio [1, channels, frames * hop]."""


def stream_decode(
    codec_decode: CodecDecode, tokens: Iterable[torch.Tensor], hop: int, sizes: Iterable[int] = ()
) -> Iterator[torch.Tensor]:
    """Decode a stream of tokens to audio while more tokens arrive.

    Parameters
    ----------
    tokens : consecutive int64 tensors [codebooks, frames]
    hop : samples per frame
    sizes : frames of each piece; those that follow have `CHUNK` frames

    Yields
    ------
    float tensors [channels, frames * hop]; the last one holds the remainder
    """
    remaining_sizes = itertools.chain(sizes, itertools.repeat(CHUNK))
    size = next(remaining_sizes)
    buffered: torch.Tensor | None = None
    first, done = 0, 0  # the first frame in `buffered`, and the number of frames decoded so far
    for codes in itertools.chain(tokens, [None]):
        if codes is not None:
            buffered = codes if buffered is None else torch.cat([buffered, codes], dim=-1)
        if buffered is None:
            return
        known = first + buffered.shape[-1]
        while done < known if codes is None else done + size + LOOKAHEAD <= known:
            stop = min(done + size, known)
            audio = codec_decode(buffered[None, :, : stop + LOOKAHEAD - first])[0]
            yield audio[:, (done - first) * hop : (stop - first) * hop].cpu()
            done = stop
            buffered = buffered[:, max(first, done - CONTEXT) - first :]
            first = max(first, done - CONTEXT)
            size = next(remaining_sizes)


def decode(codec_decode: CodecDecode, codes: torch.Tensor, hop: int) -> torch.Tensor:
    """Decode tokens int64 [codebooks, frames] to audio float [channels, frames * hop], chunk by chunk."""
    return torch.cat(list(stream_decode(codec_decode, [codes], hop)), dim=-1)


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
