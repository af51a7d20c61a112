"""The delay pattern: codebook k lags some frames behind the first, so that one step predicts all codebooks."""

from collections.abc import Sequence

import torch

UNKNOWN = -1
"""Placeholder for a token that is not generated yet."""


class DelayPattern:
    """Arranges frames in columns, one column per decoder step.

    Column 0 is empty; column s holds, for codebook k, the token of frame `s - 1 - delays[k]`. Cells
    outside the clip hold the special token (section 2.2 of arXiv:2306.05284).

    Parameters
    ----------
    delays : frames by which each codebook lags, `(0, 1, 2, 3)` mono, `(0, 0, 1, 1, 2, 2, 3, 3)` stereo
    special : the token that means "none"
    """

    def __init__(self, delays: Sequence[int], special: int) -> None:
        self.delays = tuple(delays)
        self.special = special

    def columns(self, length: int) -> int:
        """Return the number of columns for `length` frames."""
        return length + max(self.delays) + 1

    def layout(self, prefix_tokens: torch.Tensor | None, length: int) -> torch.Tensor:
        """Lay out the columns before generation: the prefix, and `UNKNOWN` where tokens are to be generated.

        Parameters
        ----------
        prefix_tokens : int64 [codebooks, frames], fewer frames than `length`, on the CPU, or None

        Returns
        -------
        int64 tensor [codebooks, columns], on the CPU
        """
        columns = torch.full((len(self.delays), self.columns(length)), self.special)
        for codebook, delay in enumerate(self.delays):
            row = columns[codebook, 1 + delay : 1 + delay + length]
            row.fill_(UNKNOWN)
            if prefix_tokens is not None:
                row[: prefix_tokens.shape[-1]] = prefix_tokens[codebook]
        return columns

    def frames(self, columns: torch.Tensor, length: int) -> torch.Tensor:
        """Undo the delays: columns [codebooks, columns, ...] to frames [codebooks, length, ...]."""
        rows = [columns[k, 1 + delay : 1 + delay + length] for k, delay in enumerate(self.delays)]
        return torch.stack(rows)
