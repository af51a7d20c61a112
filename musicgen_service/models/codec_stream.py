"""Encoding of audio and decoding of latents piece by piece, equal to all of it at once.

The recurrent layer of a codec may remember its beginning for ever, so its state goes on from piece to piece. The
convolutions before and after it see a few frames on either side.
"""

import itertools
from collections.abc import Iterable, Iterator

import torch

from musicgen_service.models.seanet import Encoder, LSTMState
from musicgen_service.models.seanet_decoder import Decoder

CHUNK = 1500
"""Frames encoded at a time, or passed through a recurrent layer: 30 s at 50 frames per second."""
PIECE = 200
"""Frames decoded at a time where nobody waits for them.

With more of them, what passes from layer to layer does not stay in the processor's caches; with fewer, the weights are
read more often.
"""


def encode(encoder: Encoder, audio: torch.Tensor, hop: int) -> Iterator[torch.Tensor]:
    """Encode audio.

    Parameters
    ----------
    audio : float tensor [1, channels, samples]
    hop : samples per frame

    Yields
    ------
    float tensors [1, dimension, frames], of ceil(samples / hop) frames together
    """
    frames, reach = -(-audio.shape[-1] // hop), encoder.prepare_reach
    recurred, state = _Frames(encoder.finish_reach), None
    done = 0
    for start in range(0, frames, CHUNK):
        stop, first = min(start + CHUNK, frames), max(0, start - reach)
        prepared = encoder.prepare(audio[..., first * hop : (stop + reach) * hop])
        new, state = encoder.recur(prepared[..., start - first : stop - first], state)
        recurred.add(new)
        end = stop if stop == frames else stop - encoder.finish_reach
        around, before = recurred.around(done, stop)
        yield encoder.finish(around)[..., before : before + end - done]
        done = end
        recurred.forget(done)


def decode(
    decoder: Decoder, latents: Iterable[torch.Tensor], hop: int, sizes: Iterable[int] = ()
) -> Iterator[torch.Tensor]:
    """Decode latents while more arrive.

    Parameters
    ----------
    latents : consecutive float tensors [1, dimension, frames]
    hop : samples per frame
    sizes : frames of each piece; those that follow have `PIECE` frames

    Yields
    ------
    float tensors [1, channels, frames * hop]; the last one holds the remainder
    """
    lookahead = decoder.prepare_reach + decoder.render_reach
    remaining_sizes = itertools.chain(sizes, itertools.repeat(PIECE))
    size = next(remaining_sizes)
    given, recurred, state = _Frames(decoder.prepare_reach), _Frames(decoder.render_reach), None
    done = 0
    for part in itertools.chain(latents, [None]):
        if part is not None:
            given.add(part)
        while done < given.end if part is None else done + size + lookahead <= given.end:
            stop = min(done + size, given.end)
            needed = min(stop + decoder.render_reach, given.end)
            if needed > recurred.end:
                # Where nobody waits, the recurrent layer goes as far as it can: a long way takes less time per frame.
                known = given.end if part is None else given.end - decoder.prepare_reach
                last = max(needed, min(known, recurred.end + CHUNK)) if size >= PIECE else needed
                state = _recur(decoder, given, recurred, last, state)
            around, before = recurred.around(done, needed)
            yield decoder.render(around)[..., before * hop : (before + stop - done) * hop]
            done = stop
            recurred.forget(done)
            size = next(remaining_sizes)


def _recur(
    decoder: Decoder, given: "_Frames", recurred: "_Frames", needed: int, state: LSTMState | None
) -> LSTMState | None:
    """Take the recurrent layer on to the frame `needed`; returns its state there."""
    start = recurred.end
    around, before = given.around(start, needed + decoder.prepare_reach)
    prepared = decoder.prepare(around)[..., before : before + needed - start]
    new, state = decoder.recur(prepared, state)
    recurred.add(new)
    given.forget(needed)
    return state


class _Frames:
    """The latest of consecutive frames [1, width, frames].

    Parameters
    ----------
    reach : frames that are kept before those that are still needed
    """

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._kept: torch.Tensor | None = None
        self._start = 0
        self.end = 0

    def add(self, frames: torch.Tensor) -> None:
        """Add frames."""
        self._kept = frames if self._kept is None else torch.cat([self._kept, frames], dim=-1)
        self.end += frames.shape[-1]

    def around(self, start: int, stop: int) -> tuple[torch.Tensor, int]:
        """The frames from `start` to `stop`, or the end, with those before them, and how many these are."""
        assert self._kept is not None
        first = max(self._start, start - self._reach)
        return self._kept[..., first - self._start : stop - self._start], start - first

    def forget(self, before: int) -> None:
        """Forget what is not needed for the frames from `before` on."""
        assert self._kept is not None
        first = max(self._start, before - self._reach)
        self._kept, self._start = self._kept[..., first - self._start :], first
