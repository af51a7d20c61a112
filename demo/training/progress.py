"""Progress output of a training loop: step, losses, speed and remaining time."""

import time
from collections import deque

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Progress:
    """Prints every `every` steps and after the last one.

    Parameters
    ----------
    first, steps : the step that training starts or resumes from, and the total number of steps
    labels : names of the losses
    """

    def __init__(self, first: int, steps: int, every: int, labels: tuple[str, ...]) -> None:
        self.first, self.steps, self.every, self.labels = first, steps, every, labels
        self.recent: deque[NDArray[np.float64]] = deque(maxlen=every)
        self.began = time.monotonic()
        if first:
            print(f"going on from step {first} of {steps}", flush=True)

    def step(self, done: int, losses: ArrayLike) -> None:
        """Record a step; `done` is the number of steps done, this one included."""
        self.recent.append(np.asarray(losses, np.float64))
        if done % self.every and done != self.steps:
            return
        seconds = (time.monotonic() - self.began) / (done - self.first)
        means = np.mean(np.array(self.recent), axis=0)
        named = "  ".join(f"{label} {mean:.3f}" for label, mean in zip(self.labels, means, strict=True))
        left = duration(seconds * (self.steps - done))
        print(f"step {done}/{self.steps}  {named}  {seconds:.2f} s/step  {left} left", flush=True)


def duration(seconds: float) -> str:
    """Format seconds as "45 s", "12 min" or "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
