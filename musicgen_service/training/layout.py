"""Where the files of a training are."""

from pathlib import Path

from musicgen_service.models.store import WeightStore

FOLDER = "training"
"""Name of the folder of unfinished trainings, inside the weights folder."""
SAMPLES = "samples"
TABLE, PICTURE = "losses.csv", "losses.png"
BOARD = "tensorboard"


def work_folder(store: WeightStore, name: str) -> Path:
    """The folder of an unfinished training."""
    return store.root / FOLDER / name
