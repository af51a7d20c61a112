"""Unreadable and unwritable weights folders, and fetching despite offline settings."""

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
    """A hub that has only `encodec_32khz`."""
    hub.repositories["facebook/encodec_32khz"] = dict(CODEC)
    return hub


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A weights folder that other users can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        monkeypatch.setenv("MUSICGEN_WEIGHTS", str(folder))
        yield folder


@pytest.fixture
def drop_write_permission(folder: Path) -> Iterator[Callable[[], None]]:
    """Makes the folder read-only and drops root, which may write regardless of a folder's mode."""
    initial_user = os.geteuid()

    def drop_write_permission() -> None:
        folder.chmod(0o555)
        if initial_user == 0:
            os.seteuid(NOBODY)

    yield drop_write_permission
    os.seteuid(initial_user)
    folder.chmod(0o755)


@pytest.fixture
def fetched(hub: Hub, folder: Path) -> WeightStore:
    """A folder with `encodec_32khz`."""
    store = WeightStore(folder)
    list(fetch(store, "encodec_32khz"))
    return store


def exit_message(*arguments: str) -> str:
    """The error message with which a command exits."""
    with pytest.raises(SystemExit) as raised:
        cli.main(["weights", *arguments])
    text = str(raised.value)
    assert "\n" not in text and "Errno" not in text
    return text


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_fetch_ignores_offline_settings(hub: Hub, folder: Path, variable: str) -> None:
    command = [sys.executable, "-m", "musicgen_service", "weights", "fetch", "encodec_32khz"]
    environment = os.environ | {"HF_ENDPOINT": hub.url, variable: "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert WeightStore(folder).verify("encodec_32khz") == []


def test_offline_mode_is_restored_after_a_fetch(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, is_offline_mode

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    list(fetch(WeightStore(folder), "encodec_32khz"))
    assert is_offline_mode()


def test_error_of_an_unwritable_folder_is_one_sentence(
    hub: Hub, folder: Path, drop_write_permission: Callable[[], None]
) -> None:
    drop_write_permission()
    assert exit_message("fetch", "encodec_32khz") == (
        f"error: The weights folder {folder} cannot be written (Permission denied): "
        "make room and let this user write there, or name another folder with MUSICGEN_WEIGHTS."
    )


def test_error_of_another_users_partial_fetch_is_one_sentence(
    hub: Hub, folder: Path, drop_write_permission: Callable[[], None]
) -> None:
    (folder / ".partial" / "encodec_32khz").mkdir(parents=True)
    (folder / ".partial").chmod(0o555)
    drop_write_permission()
    assert f"The weights folder {folder} cannot be written (Permission denied)" in exit_message(
        "fetch", "encodec_32khz"
    )


def test_error_of_a_full_disk_does_not_blame_the_hub(hub: Hub, folder: Path) -> None:
    digest = hashlib.sha256(CODEC["model.safetensors"]).hexdigest()
    partial = folder / ".partial" / "encodec_32khz"
    partial.mkdir(parents=True)
    (partial / f"model.safetensors.{digest}.unfinished").symlink_to("/dev/full")
    sentence = exit_message("fetch", "encodec_32khz")
    assert f"The weights folder {folder} cannot be written (No space left on device)" in sentence
    assert "hub" not in sentence and "fetched" not in sentence


def test_error_of_a_read_only_mount_is_one_sentence(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "cannot be written (Read-only file system)" in exit_message("fetch", "encodec_32khz")


@pytest.mark.parametrize("command", [["list"], ["verify", "encodec_32khz"], ["fetch", "encodec_32khz"]], ids=str)
def test_error_of_an_unreadable_component_is_one_sentence(
    fetched: WeightStore, drop_write_permission: Callable[[], None], command: list[str]
) -> None:
    fetched.path("encodec_32khz").chmod(0)
    drop_write_permission()
    assert "'encodec_32khz' cannot be read (Permission denied): let this user read its folder." in exit_message(
        *command
    )


def test_verify_reports_every_unreadable_file(fetched: WeightStore, drop_write_permission: Callable[[], None]) -> None:
    (fetched.path("encodec_32khz") / "config.json").chmod(0)
    drop_write_permission()
    assert "encodec_32khz/config.json: Permission denied" in exit_message("verify", "encodec_32khz")


def test_unreadable_manifest_is_not_treated_as_missing(
    fetched: WeightStore, drop_write_permission: Callable[[], None]
) -> None:
    (fetched.path("encodec_32khz") / MANIFEST).chmod(0)
    drop_write_permission()
    with pytest.raises(WeightsError, match="'encodec_32khz' cannot be read"):
        fetched.component("encodec_32khz")
