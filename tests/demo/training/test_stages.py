"""The quick recipe from the start: killed in every stage, training resumes to the same checkpoint."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.training.files import PARTIAL
from demo.training.recipe import Recipe
from demo.training.stages import FolderError, train

# Five trainings, each in a process of its own.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MINIATURE = Recipe(
    quantiser_clips=20,
    codec_steps=2,
    language_model_steps=2,
    shards=1,
    shard_songs=2,
    report_every=1,
    checkpoint_every=1,
    evaluated_songs=1,
)
TRAIN = f"""
from pathlib import Path
import torch
torch.set_num_threads(1)
from demo.training.recipe import Recipe
from demo.training.stages import train
train(Path({{folder!r}}), {MINIATURE!r}, "cpu")
"""
KILLED_AFTER = ("[1/4] quantiser", "on held-back clips", "on held-back songs")
"""The output lines after which training is killed, in order; the last two follow a checkpoint."""


def run(folder: Path, until: str | None = None) -> list[str]:
    """Train in a separate process, killed as soon as it has printed `until`; returns its output."""
    command = [sys.executable, "-u", "-c", TRAIN.format(folder=str(folder))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    printed = []
    for line in process.stdout:
        printed.append(line.strip())
        if until and until in line:
            time.sleep(0.3)  # into whatever comes next
            os.kill(process.pid, signal.SIGKILL)
            break
    errors = process.stderr.read()  # returns when nobody can write there any more: the shards' writer has ended as well
    assert process.wait() == (-signal.SIGKILL if until else 0), errors
    return printed


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    run(folder)
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[list[str]]]]:
    """A folder whose training was killed repeatedly before it completed, and the output of each attempt."""
    folder = tmp_path_factory.mktemp("killed")
    yield folder, [run(folder, words) for words in (*KILLED_AFTER, None)]


def test_killed_training_resumes_to_the_same_checkpoint(
    uninterrupted: Path, killed: tuple[Path, list[list[str]]]
) -> None:
    assert digests(killed[0] / "weights") == digests(uninterrupted / "weights")


def test_finished_stages_are_skipped(killed: tuple[Path, list[list[str]]]) -> None:
    _, attempts = killed
    assert "going on from step 1 of 2" in attempts[2]  # the codec
    assert attempts[3].count("going on from step 1 of 2") == 1  # the language model
    assert not any("encoder" in line for line in attempts[3])


def test_no_partial_files_remain(killed: tuple[Path, list[list[str]]]) -> None:
    folder, _ = killed
    assert not list(folder.rglob(f"*{PARTIAL}"))


def test_progress_names_stage_step_loss_and_time_left(killed: tuple[Path, list[list[str]]]) -> None:
    printed = killed[1][-1]
    assert "[3/4] language model" in printed
    assert any("step 2/2" in line and "hits" in line and "s/step" in line and line.endswith("left") for line in printed)
    assert "MB" in printed[-1]


def test_folder_of_another_recipe_is_rejected(uninterrupted: Path) -> None:
    with pytest.raises(FolderError, match=r"begun with another recipe"):
        train(uninterrupted, Recipe(), "cpu")


def test_two_trainings_in_one_folder_are_rejected(uninterrupted: Path) -> None:
    from filelock import FileLock

    with FileLock(uninterrupted / "lock"), pytest.raises(FolderError, match=r"Another process trains"):
        train(uninterrupted, MINIATURE, "cpu")
