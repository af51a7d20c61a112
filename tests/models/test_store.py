"""The weights folder and what fetches into it, against a hub on this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicgen_service import cli
from musicgen_service.models import hub as client
from musicgen_service.models import loading
from musicgen_service.models.catalogue import CHECKPOINT_FILES, CHECKPOINTS, COMPONENTS
from musicgen_service.models.store import MANIFEST, WeightsError, WeightStore
from tests.support import hub as stand_in
from tests.support.harness import wait_until
from tests.support.hub import Asked, Hub

CODEC = {"config.json": b"{}\n", "model.safetensors": b"codec" * 1000}
STATE = bytes(range(256)) * 400


@pytest.fixture
def hub(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with `small`, `melody` and the parts they need."""
    from huggingface_hub import constants

    with stand_in.running() as running:
        # The client reads HF_ENDPOINT when it is imported.
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
        monkeypatch.setattr("time.sleep", lambda _seconds: None)
        for name in ("t5-base", "htdemucs", "multi-band-diffusion"):
            running.add(str(COMPONENTS[name].hub_id), weights / name)
        running.repositories["facebook/encodec_32khz"] = dict(CODEC)
        running.add("facebook/musicgen-small", weights / "small")
        running.add("facebook/musicgen-melody", weights / "melody")
        running.repositories["facebook/musicgen-small"]["README.md"] = b"about"
        yield running


@pytest.fixture
def store(tmp_path: Path) -> WeightStore:
    """An empty weights folder."""
    return WeightStore(tmp_path / "weights")


@pytest.fixture
def codec_only(hub: Hub, store: WeightStore) -> Hub:
    """The hub, with a large file to break in `encodec_32khz`; the store asks for nothing else."""
    hub.repositories["facebook/encodec_32khz"]["model.safetensors"] = STATE
    return hub


def test_a_checkpoint_comes_with_all_it_needs(hub: Hub, store: WeightStore) -> None:
    news = list(store.fetch("small"))
    assert store.present() == ["small"]
    assert sorted(path.name for path in store.root.iterdir() if not path.name.startswith(".")) == [
        "encodec_32khz",
        "multi-band-diffusion",
        "small",
        "t5-base",
    ]
    assert [line for line in news if "CC-BY-NC 4.0" in line and "facebook/musicgen-small" in line]
    assert not (store.path("small") / "README.md").exists()
    assert store.verify("small") == []
    hub.recover()
    assert list(store.fetch("small")) == [f"{name}: already here" for name in CHECKPOINTS["small"].components] + [
        "small: already here"
    ]
    assert hub.asked == []


def test_older_repositories_have_their_weights_under_another_name(hub: Hub, store: WeightStore) -> None:
    hub.repositories["facebook/encodec_32khz"] = {"config.json": b"{}", "pytorch_model.bin": STATE}
    list(store.fetch("encodec_32khz"))
    assert store.has("encodec_32khz") and (store.path("encodec_32khz") / "pytorch_model.bin").is_file()


def test_a_file_that_may_be_absent_is_not_missed(hub: Hub, store: WeightStore) -> None:
    del hub.repositories["google-t5/t5-base"]["tokenizer_config.json"]
    list(store.fetch("t5-base"))
    assert store.has("t5-base")


def test_a_file_that_must_be_there_is_named_with_its_alternatives(hub: Hub, store: WeightStore) -> None:
    hub.repositories["facebook/encodec_32khz"] = {"config.json": b"{}"}
    with pytest.raises(WeightsError, match=r"has no file model\.safetensors or pytorch_model\.bin"):
        list(store.fetch("encodec_32khz"))


def test_a_melody_checkpoint_comes_with_the_separator(hub: Hub, store: WeightStore) -> None:
    list(store.fetch("melody"))
    assert store.has("htdemucs")
    assert store.has("melody")


def test_what_was_fetched_loads(hub: Hub, store: WeightStore) -> None:
    import torch

    list(store.fetch("small"))
    assert loading.load_model("small", store, torch.device("cpu")).sample_rate == 32_000


def test_a_broken_connection_is_taken_up_where_it_broke(codec_only: Hub, store: WeightStore) -> None:
    codec_only.break_at["model.safetensors"] = 70_000
    with pytest.raises(WeightsError, match=r"could not be fetched \(.*\): run `.* fetch encodec_32khz` to go on"):
        list(store.fetch("encodec_32khz"))
    assert not store.has("encodec_32khz")
    codec_only.recover()
    list(store.fetch("encodec_32khz"))
    assert codec_only.asked == [Asked("model.safetensors", 70_000)]
    assert (store.path("encodec_32khz") / "model.safetensors").read_bytes() == STATE
    assert store.verify("encodec_32khz") == []


def test_a_connection_that_breaks_once_is_no_error(codec_only: Hub, store: WeightStore) -> None:
    codec_only.break_at["model.safetensors"] = 70_000
    codec_only.stays_down = False
    list(store.fetch("encodec_32khz"))
    assert [asked.start for asked in codec_only.asked if asked.file == "model.safetensors"] == [0, 70_000]
    assert store.has("encodec_32khz")


def test_an_interrupted_fetch_leaves_nothing_that_counts_as_present(
    codec_only: Hub, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WeightStore, "_put_in_place", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(store.fetch("encodec_32khz"))
    assert not store.has("encodec_32khz")
    codec_only.recover()
    list(store.fetch("encodec_32khz"))
    assert store.has("encodec_32khz")
    assert codec_only.asked == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_corrupted_content_is_discarded_and_fetched_again(codec_only: Hub, store: WeightStore, name: str) -> None:
    codec_only.corrupt.add(name)
    with pytest.raises(WeightsError, match=f"{name} of facebook/encodec_32khz arrived damaged and was discarded"):
        list(store.fetch("encodec_32khz"))
    assert not store.has("encodec_32khz")
    codec_only.recover()
    list(store.fetch("encodec_32khz"))
    assert Asked(name, 0) in codec_only.asked
    assert store.verify("encodec_32khz") == []


def test_damage_after_the_fetch_is_found_and_mended(hub: Hub, store: WeightStore) -> None:
    list(store.fetch("encodec_32khz"))
    file = store.path("encodec_32khz") / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert store.verify("encodec_32khz") == ["encodec_32khz/model.safetensors: checksum differs"]
    list(store.fetch("encodec_32khz"))
    assert store.verify("encodec_32khz") == []
    assert [path.name for path in store.root.iterdir() if path.name.startswith("encodec")] == ["encodec_32khz"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": {"config.json": 1}}'])
def test_a_damaged_manifest_is_a_weights_error_and_mended(hub: Hub, store: WeightStore, content: bytes) -> None:
    list(store.fetch("encodec_32khz"))
    (store.path("encodec_32khz") / MANIFEST).write_bytes(content)
    with pytest.raises(WeightsError, match=r"manifest\.json cannot be read"):
        store.require("encodec_32khz")
    assert len(store.verify("encodec_32khz")) == 1
    list(store.fetch("encodec_32khz"))
    assert store.verify("encodec_32khz") == []


def test_a_file_of_another_length_is_never_loaded(hub: Hub, store: WeightStore) -> None:
    list(store.fetch("encodec_32khz"))
    file = store.path("encodec_32khz") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"damaged \(model\.safetensors is not whole\)"):
        store.require("encodec_32khz")


def test_a_part_with_a_file_missing_is_not_here(weights: Path, store: WeightStore) -> None:
    shutil.copytree(weights / "t5-base", store.path("t5-base"))
    assert store.has("t5-base")
    (store.path("t5-base") / "tokenizer.json").unlink()
    assert not store.has("t5-base")


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_failing_hub_is_one_sentence(hub: Hub, store: WeightStore, status: int) -> None:
    hub.status["facebook/encodec_32khz"] = status
    with pytest.raises(WeightsError, match=rf"facebook/encodec_32khz could not be fetched \(.*{status}.*") as raised:
        list(store.fetch("encodec_32khz"))
    assert "\n" not in str(raised.value)


def test_an_unreachable_hub_is_one_sentence(hub: Hub, store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="facebook/encodec_32khz could not be fetched"):
        list(store.fetch("encodec_32khz"))


def test_a_repository_without_an_expected_file_is_named(hub: Hub, store: WeightStore) -> None:
    del hub.repositories["facebook/encodec_32khz"]["model.safetensors"]
    with pytest.raises(WeightsError, match=r"facebook/encodec_32khz has no file model\.safetensors"):
        list(store.fetch("encodec_32khz"))


def test_an_unknown_name_lists_the_known_ones(store: WeightStore) -> None:
    with pytest.raises(WeightsError, match=r"'tiny' is not a known checkpoint: use one of small, medium, .*htdemucs"):
        list(store.fetch("tiny"))


def test_the_demo_is_not_fetched(store: WeightStore) -> None:
    assert list(store.fetch("demo")) == ["demo: part of this repository"]


def test_a_new_revision_does_not_mix_with_an_unfinished_old_one(codec_only: Hub, store: WeightStore) -> None:
    codec_only.break_at["model.safetensors"] = 70_000
    with pytest.raises(WeightsError):
        list(store.fetch("encodec_32khz"))
    codec_only.recover()
    codec_only.repositories["facebook/encodec_32khz"]["model.safetensors"] = STATE[::-1]
    list(store.fetch("encodec_32khz"))
    assert codec_only.asked[-1] == Asked("model.safetensors", 0)
    assert sorted(path.name for path in store.path("encodec_32khz").iterdir()) == [
        "config.json",
        MANIFEST,
        "model.safetensors",
    ]


def test_the_manifest_says_where_files_came_from(hub: Hub, store: WeightStore) -> None:
    list(store.fetch("encodec_32khz"))
    manifest = json.loads((store.path("encodec_32khz") / MANIFEST).read_text())
    assert manifest["source"] == "facebook/encodec_32khz"
    assert manifest["revision"] == stand_in.REVISION
    assert manifest["files"]["model.safetensors"]["sha256"] == client.sha256(
        store.path("encodec_32khz") / "model.safetensors"
    )


def test_weights_made_elsewhere_are_recorded_and_verified(weights: Path, store: WeightStore) -> None:
    shutil.copytree(weights / "small", store.path("small"))
    assert store.verify("small") == ["small: no manifest.json, nothing to compare with"]
    store.write_manifest("small")
    assert store.verify("small") == []


def test_a_fetch_that_is_interrupted_goes_on_where_it_was(hub: Hub, store: WeightStore) -> None:
    """The command as an operator runs it, ended by Ctrl-C and given again."""
    chunk = 10 * 2**20  # the client writes this much at a time
    content = bytes(2 * chunk + 1000)
    hub.repositories["facebook/encodec_32khz"]["model.safetensors"] = content
    hub.stall_at["model.safetensors"] = chunk + 1000
    command = [sys.executable, "-m", "musicgen_service", "weights", "fetch", "encodec_32khz"]
    environment = os.environ | {"HF_ENDPOINT": hub.url, "MUSICGEN_WEIGHTS": str(store.root)}

    def heed_interrupts() -> None:
        # Whatever a shell starts in the background ignores Ctrl-C, and so do its children.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts)
    assert hub.stalled.wait(60)
    wait_until(lambda: any(path.stat().st_size == chunk for path in store.root.rglob("*.unfinished")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("interrupted\n")
    assert "Traceback" not in errors
    assert not store.has("encodec_32khz")
    hub.recover()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert hub.asked == [Asked("model.safetensors", chunk)]
    assert store.verify("encodec_32khz") == []


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def _folder(self, store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MUSICGEN_WEIGHTS", str(store.root))

    def test_path_is_where_musicgen_weights_points(
        self, store: WeightStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cli.main(["weights", "path"])
        assert capsys.readouterr().out == f"{store.root}\n"

    def test_path_is_weights_beside_the_package_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MUSICGEN_WEIGHTS")
        assert WeightStore.from_environment().root == Path(cli.__file__).parents[2] / "weights"

    def test_list_tells_what_is_here(self, hub: Hub, store: WeightStore, capsys: pytest.CaptureFixture[str]) -> None:
        list(store.fetch("encodec_32khz"))
        cli.main(["weights", "list"])
        lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
        assert list(lines) == ["NAME", *CHECKPOINTS, *COMPONENTS]
        assert "stereo" in lines["stereo-melody-large"]
        assert "CC-BY-NC 4.0" in lines["small"]
        assert lines["encodec_32khz"].split()[1] == "yes"
        assert lines["small"].split()[1] == "-"

    def test_fetch_then_verify(self, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
        cli.main(["weights", "fetch", "small"])
        cli.main(["weights", "verify"])
        out = capsys.readouterr().out
        assert "small: fetching 2 MB from facebook/musicgen-small (CC-BY-NC 4.0)" in out
        assert out.endswith("checksums agree: small, t5-base, encodec_32khz, multi-band-diffusion\n")

    def test_verify_fails_on_a_flipped_byte(self, hub: Hub, store: WeightStore) -> None:
        cli.main(["weights", "fetch", "encodec_32khz"])
        (store.path("encodec_32khz") / "config.json").write_bytes(b"[]\n")
        with pytest.raises(SystemExit, match=r"error: encodec_32khz/config\.json: checksum differs"):
            cli.main(["weights", "verify"])

    def test_an_unknown_name_is_one_line(self) -> None:
        with pytest.raises(SystemExit, match="error: 'tiny' is not a known checkpoint"):
            cli.main(["weights", "fetch", "tiny"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a checkpoint `small`, in a weights folder of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    for file in CHECKPOINT_FILES:
        (folder / file).write_bytes(b"weights")
    return folder


def test_a_changed_file_is_not_loaded(folder: Path) -> None:
    store = WeightStore(folder.parent)
    assert store.intact("small") == folder  # without a manifest there is nothing to compare with
    store.write_manifest("small")
    assert store.intact("small") == folder
    (folder / CHECKPOINT_FILES[0]).write_bytes(b"Weights")
    assert store.require("small") == folder
    with pytest.raises(WeightsError, match=r"'small' is damaged \(the checksum of state_dict.bin differs\): run"):
        store.intact("small")


def test_a_file_is_read_again_only_when_it_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = WeightStore(folder.parent)
    store.write_manifest("small")
    store.intact("small")
    monkeypatch.setattr("musicgen_service.models.store.sha256", lambda _path: "another")
    assert store.intact("small") == folder
    os.utime(folder / CHECKPOINT_FILES[0], (1, 1))
    with pytest.raises(WeightsError, match="checksum"):
        store.intact("small")
