"""Benchmarks of speed and fidelity."""

import musicgen_service  # noqa: F401  (sets how OpenMP's threads wait, which must be before torch is loaded)
