"""Files of a training folder are written atomically."""

from pathlib import Path

import pytest

from demo.training.files import atomic_write, load, remove_partial, save


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    save(tmp_path / "state.pt", {"step": 1})
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "state.pt") as partial:
        partial.write_text("half of it")
        raise KeyboardInterrupt
    assert load(tmp_path / "state.pt") == {"step": 1}
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_new_folder_replaces_the_old_one(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with atomic_write(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / content).write_text(content)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["second"]
    with pytest.raises(OSError), atomic_write(tmp_path / "folder") as partial:
        partial.mkdir()
        raise OSError
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
