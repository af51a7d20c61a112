"""Whether the bars of a recording can be relied on."""

from musicgen_service.analysis.beats import BeatGrid

LOW_METRE_CONFIDENCE = 0.5
"""Confidence in bars below which they are more likely wrong than right, though their beats may be certain."""


def has_clear_bars(grid: BeatGrid) -> bool:
    """Whether its bars are more likely right than wrong, if its beats are right."""
    return grid.metre_confidence >= LOW_METRE_CONFIDENCE
