"""Synthesised music with exact labels, and the training of the shipped demo checkpoint on it."""

import musicgen_service  # noqa: F401  (sets how OpenMP's threads wait, which must be before torch is loaded)
