"""What TensorBoard reads of a training."""

import struct
from pathlib import Path

import pytest

from musicgen_service.training.board import Board
from musicgen_service.training.trainer import History
from tests.support.harness import wait_until

event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="needs the extra `train`")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The values in the event files of a folder, by name: records with a length, a checksum, the event, a checksum."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in (folder / "tensorboard").iterdir():
        content, at = file.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = event_pb2.Event.FromString(content[at + 12 : at + 12 + length])
            at += length + 16
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, round(value.simple_value, 4)))
    return found


def test_losses_are_written_while_they_come(tmp_path: Path) -> None:
    board, history = Board(tmp_path), History(held_out=[(0, 3.0)])
    board.write(history)
    wait_until(lambda: scalars(tmp_path) == {"loss/held_out": [(0, 3.0)]})
    history.steps += [(1, 2.5), (2, 2.25)]
    history.held_out.append((2, 2.0))
    board.write(history)
    board.write(history)
    board.close()
    assert scalars(tmp_path) == {"loss/held_out": [(0, 3.0), (2, 2.0)], "loss/songs": [(1, 2.5), (2, 2.25)]}


def test_a_training_that_goes_on_replaces_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    killed = Board(tmp_path)
    killed.write(History([(1, 2.5), (2, 2.25)], [(0, 3.0), (2, 2.0)]))
    board = Board(tmp_path)
    board.write(History([(1, 2.5)], [(0, 3.0)]))
    board.close()
    assert scalars(tmp_path) == {"loss/held_out": [(0, 3.0)], "loss/songs": [(1, 2.5)]}
    killed.close()
