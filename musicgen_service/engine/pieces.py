"""Codec work on long audio in pieces: memory does not grow with the length, and sound can be had early."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch

PIECE = 1500
"""Frames worked on at a time: 30 s at 50 frames per second."""
CONTEXT = 100
"""Frames of surroundings that a piece is worked on with, enough for the codec's LSTM to settle."""
LOOKAHEAD = 8
"""Frames that a frame's sound depends on to its right; the LSTM looks back only, and the convolutions see 4."""

CodecDecode = Callable[[torch.Tensor], torch.Tensor]
"""Codes [1, codebooks, frames] to audio [1, channels, frames * hop]."""


def stream(
    codec_decode: CodecDecode, arriving: Iterable[torch.Tensor], hop: int, piece: int = PIECE
) -> Iterator[torch.Tensor]:
    """Tokens to sound, while tokens arrive.

    Parameters
    ----------
    arriving : int64 tensors [codebooks, frames] that follow each other
    hop : samples per frame
    piece : frames worked on at a time

    Yields
    ------
    float tensors [channels, piece * hop], the last one with what is left
    """
    held: torch.Tensor | None = None
    first, done = 0, 0  # the frame that `held` begins with, and the frame that sound is there up to
    for codes in itertools.chain(arriving, [None]):
        if codes is not None:
            held = codes if held is None else torch.cat([held, codes], dim=-1)
        if held is None:
            return
        known = first + held.shape[-1]
        while done < known if codes is None else done + piece + LOOKAHEAD <= known:
            stop = min(done + piece, known)
            audio = codec_decode(held[None, :, : stop + LOOKAHEAD - first])[0]
            yield audio[:, (done - first) * hop : (stop - first) * hop].cpu()
            done = stop
            held = held[:, max(first, done - CONTEXT) - first :]
            first = max(first, done - CONTEXT)


def decode(codec_decode: CodecDecode, codes: torch.Tensor, hop: int) -> torch.Tensor:
    """Tokens int64 [codebooks, frames] to sound float [channels, frames * hop], piece by piece."""
    return torch.cat(list(stream(codec_decode, [codes], hop)), dim=-1)


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
