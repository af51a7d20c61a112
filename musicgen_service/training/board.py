"""Losses for TensorBoard, which shows them while a training goes on: `tensorboard --logdir weights/training`."""

import shutil
from pathlib import Path

from musicgen_service.training import layout
from musicgen_service.training.trainer import History

try:
    from tensorboardX import SummaryWriter
except ImportError:  # an extra `train` of before it had this
    SummaryWriter = None


class Board:
    """Writes event files; those of the process before, which may have gone further than its checkpoint, are replaced.

    Parameters
    ----------
    folder : of the training
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / layout.BOARD
        self._writer: SummaryWriter | None = None
        self._written = -1

    def write(self, history: History) -> None:
        """Write what was measured since the last time, which can be read a second later."""
        if SummaryWriter is None:
            return
        if self._writer is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._writer = SummaryWriter(str(self._folder), flush_secs=1)
        for name, losses in (("loss/songs", history.steps), ("loss/held_out", history.held_out)):
            for step, loss in losses:
                if step > self._written:
                    self._writer.add_scalar(name, loss, step)
        self._written = max((step for step, _ in (*history.steps, *history.held_out)), default=-1)

    def close(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
