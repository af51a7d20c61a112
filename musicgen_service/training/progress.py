"""How far a training is, in a line."""

from musicgen_service.progress import in_words


def line(stage: str, done: int, total: int, more: str, seconds_left: float | None) -> str:
    """Say how far a stage is, and how long it still takes where that is known; `more` is said with it."""
    parts = [f"{stage}: {done} of {total}", *([more] if more else [])]
    left = "" if seconds_left is None else f"; {in_words(seconds_left)} left"
    return ", ".join(parts) + left
