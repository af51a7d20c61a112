"""The weights folder where it may not be read or written, and a fetch although the environment says offline."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from musicgen_service import cli
from musicgen_service.models.fetching import fetch
from musicgen_service.models.manifest import MANIFEST
from musicgen_service.models.store import WeightsError, WeightStore
from tests.support.hub import CODEC, Hub

NOBODY = 65534


@pytest.fixture
def hub(hub: Hub) -> Hub:
    """A hub with `encodec_32khz` alone."""
    hub.repositories["facebook/encodec_32khz"] = dict(CODEC)
    return hub


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A weights folder that others may pass into, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        monkeypatch.setenv("MUSICGEN_WEIGHTS", str(folder))
        yield folder


@pytest.fixture
def step_down(folder: Path) -> Iterator[Callable[[], None]]:
    """Makes an ordinary user of this process, who may not write: root may, whatever a folder's mode says."""
    was = os.geteuid()

    def step_down() -> None:
        folder.chmod(0o555)
        if was == 0:
            os.seteuid(NOBODY)

    yield step_down
    os.seteuid(was)
    folder.chmod(0o755)


@pytest.fixture
def fetched(hub: Hub, folder: Path) -> WeightStore:
    """A folder with `encodec_32khz`."""
    store = WeightStore(folder)
    list(fetch(store, "encodec_32khz"))
    return store


def said(*arguments: str) -> str:
    """What a command ends with."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["weights", *arguments])
    text = str(ended.value)
    assert "\n" not in text and "Errno" not in text
    return text


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_fetch_goes_online_where_the_image_says_offline(hub: Hub, folder: Path, variable: str) -> None:
    command = [sys.executable, "-m", "musicgen_service", "weights", "fetch", "encodec_32khz"]
    environment = os.environ | {"HF_ENDPOINT": hub.url, variable: "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert WeightStore(folder).verify("encodec_32khz") == []


def test_what_serves_stays_offline_after_a_fetch(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, is_offline_mode

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    list(fetch(WeightStore(folder), "encodec_32khz"))
    assert is_offline_mode()


def test_a_folder_that_cannot_be_written_is_one_sentence(hub: Hub, folder: Path, step_down: Callable[[], None]) -> None:
    step_down()
    assert said("fetch", "encodec_32khz") == (
        f"error: The weights folder {folder} cannot be written (Permission denied): "
        "make room and let this user write there, or name another folder with MUSICGEN_WEIGHTS."
    )


def test_a_fetch_that_another_user_began_is_one_sentence(hub: Hub, folder: Path, step_down: Callable[[], None]) -> None:
    (folder / ".partial" / "encodec_32khz").mkdir(parents=True)
    (folder / ".partial").chmod(0o555)
    step_down()
    assert f"The weights folder {folder} cannot be written (Permission denied)" in said("fetch", "encodec_32khz")


def test_a_full_disk_is_one_sentence_that_does_not_blame_the_hub(hub: Hub, folder: Path) -> None:
    digest = hashlib.sha256(CODEC["model.safetensors"]).hexdigest()
    partial = folder / ".partial" / "encodec_32khz"
    partial.mkdir(parents=True)
    (partial / f"model.safetensors.{digest}.unfinished").symlink_to("/dev/full")
    sentence = said("fetch", "encodec_32khz")
    assert f"The weights folder {folder} cannot be written (No space left on device)" in sentence
    assert "hub" not in sentence and "fetched" not in sentence


def test_a_read_only_mount_is_one_sentence(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "cannot be written (Read-only file system)" in said("fetch", "encodec_32khz")


@pytest.mark.parametrize("command", [["list"], ["verify", "encodec_32khz"], ["fetch", "encodec_32khz"]], ids=str)
def test_a_part_that_cannot_be_read_is_one_sentence(
    fetched: WeightStore, step_down: Callable[[], None], command: list[str]
) -> None:
    fetched.path("encodec_32khz").chmod(0)
    step_down()
    assert "'encodec_32khz' cannot be read (Permission denied): let this user read its folder." in said(*command)


def test_every_file_that_cannot_be_read_is_a_problem(fetched: WeightStore, step_down: Callable[[], None]) -> None:
    (fetched.path("encodec_32khz") / "config.json").chmod(0)
    step_down()
    assert "encodec_32khz/config.json: Permission denied" in said("verify", "encodec_32khz")


def test_a_manifest_that_cannot_be_read_is_not_taken_for_none(
    fetched: WeightStore, step_down: Callable[[], None]
) -> None:
    (fetched.path("encodec_32khz") / MANIFEST).chmod(0)
    step_down()
    with pytest.raises(WeightsError, match="'encodec_32khz' cannot be read"):
        fetched.component("encodec_32khz")
