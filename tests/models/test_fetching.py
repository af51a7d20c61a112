"""Fetching into the weights folder, from a local stub of the hub."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from musicgen_service.models import fetching, hub, loading, manifest
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.models.fetching import fetch
from musicgen_service.models.manifest import MANIFEST
from musicgen_service.models.store import WeightsError, WeightStore
from tests.support import hub as stand_in
from tests.support.harness import wait_until
from tests.support.hub import Asked, Hub

STATE = bytes(range(256)) * 400


@pytest.fixture
def store(tmp_path: Path) -> WeightStore:
    """An empty weights folder."""
    return WeightStore(tmp_path / "weights")


@pytest.fixture
def codec_only(released: Hub, store: WeightStore) -> Hub:
    """The hub, with a large file in `encodec_32khz` whose transfer tests can break."""
    released.repositories["facebook/encodec_32khz"]["model.safetensors"] = STATE
    return released


def test_checkpoint_is_fetched_with_its_components(released: Hub, store: WeightStore) -> None:
    lines = list(fetch(store, "small"))
    assert store.present() == ["small"]
    assert sorted(path.name for path in store.root.iterdir() if not path.name.startswith(".")) == [
        "encodec_32khz",
        "multi-band-diffusion",
        "small",
        "t5-base",
    ]
    assert [line for line in lines if "CC-BY-NC 4.0" in line and "facebook/musicgen-small" in line]
    assert not (store.path("small") / "README.md").exists()
    assert store.verify("small") == []
    released.recover()
    assert list(fetch(store, "small")) == [f"{name}: already here" for name in CHECKPOINTS["small"].components] + [
        "small: already here"
    ]
    assert released.asked == []


def test_alternative_weight_file_is_fetched_from_older_repositories(released: Hub, store: WeightStore) -> None:
    released.repositories["facebook/encodec_32khz"] = {"config.json": b"{}", "pytorch_model.bin": STATE}
    list(fetch(store, "encodec_32khz"))
    assert store.has("encodec_32khz") and (store.path("encodec_32khz") / "pytorch_model.bin").is_file()


def test_optional_file_may_be_absent(released: Hub, store: WeightStore) -> None:
    del released.repositories["google-t5/t5-base"]["tokenizer_config.json"]
    list(fetch(store, "t5-base"))
    assert store.has("t5-base")


def test_error_for_missing_file_names_its_alternatives(released: Hub, store: WeightStore) -> None:
    released.repositories["facebook/encodec_32khz"] = {"config.json": b"{}"}
    with pytest.raises(WeightsError, match=r"has no file model\.safetensors or pytorch_model\.bin"):
        list(fetch(store, "encodec_32khz"))


def test_melody_checkpoint_is_fetched_with_the_separator(released: Hub, store: WeightStore) -> None:
    list(fetch(store, "melody"))
    assert store.has("htdemucs")
    assert store.has("melody")


def test_fetched_checkpoint_loads(released: Hub, store: WeightStore) -> None:
    import torch

    list(fetch(store, "small"))
    assert loading.load_model(store.checkpoint("small"), torch.device("cpu")).sample_rate == 32_000


def test_fetch_resumes_after_a_broken_connection(codec_only: Hub, store: WeightStore) -> None:
    codec_only.break_at["model.safetensors"] = 70_000
    with pytest.raises(WeightsError, match=r"could not be fetched \(.*\): run `.* fetch encodec_32khz` to go on"):
        list(fetch(store, "encodec_32khz"))
    assert not store.has("encodec_32khz")
    codec_only.recover()
    list(fetch(store, "encodec_32khz"))
    assert codec_only.asked == [Asked("model.safetensors", 70_000)]
    assert (store.path("encodec_32khz") / "model.safetensors").read_bytes() == STATE
    assert store.verify("encodec_32khz") == []


def test_connection_that_breaks_once_is_retried(codec_only: Hub, store: WeightStore) -> None:
    codec_only.break_at["model.safetensors"] = 70_000
    codec_only.stays_down = False
    list(fetch(store, "encodec_32khz"))
    assert [asked.start for asked in codec_only.asked if asked.file == "model.safetensors"] == [0, 70_000]
    assert store.has("encodec_32khz")


def test_hub_that_ignores_the_range_sends_the_file_again(codec_only: Hub, store: WeightStore) -> None:
    codec_only.break_at["model.safetensors"] = 70_000
    codec_only.stays_down = False
    codec_only.whole.add("model.safetensors")
    list(fetch(store, "encodec_32khz"))
    assert (store.path("encodec_32khz") / "model.safetensors").read_bytes() == STATE


def test_fetch_fails_after_repeated_connections_without_data(
    codec_only: Hub, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    pauses: list[float] = []
    monkeypatch.setattr(hub, "time", SimpleNamespace(sleep=pauses.append))  # other threads sleep, too
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}{revision}{filename}")
    with pytest.raises(WeightsError, match=r"facebook/encodec_32khz could not be fetched \("):
        list(fetch(store, "encodec_32khz"))
    assert len(pauses) == hub._MAX_ATTEMPTS - 1


def test_interrupted_fetch_does_not_count_as_present(
    codec_only: Hub, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_move_into_place", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(fetch(store, "encodec_32khz"))
    assert not store.has("encodec_32khz")
    codec_only.recover()
    list(fetch(store, "encodec_32khz"))
    assert store.has("encodec_32khz")
    assert codec_only.asked == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_corrupted_content_is_discarded_and_fetched_again(codec_only: Hub, store: WeightStore, name: str) -> None:
    codec_only.corrupt.add(name)
    with pytest.raises(WeightsError, match=f"{name} of facebook/encodec_32khz arrived damaged and was discarded"):
        list(fetch(store, "encodec_32khz"))
    assert not store.has("encodec_32khz")
    codec_only.recover()
    list(fetch(store, "encodec_32khz"))
    assert Asked(name, 0) in codec_only.asked
    assert store.verify("encodec_32khz") == []


def test_damage_after_the_fetch_is_detected_and_repaired(released: Hub, store: WeightStore) -> None:
    list(fetch(store, "encodec_32khz"))
    file = store.path("encodec_32khz") / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert store.verify("encodec_32khz") == ["encodec_32khz/model.safetensors: checksum differs"]
    list(fetch(store, "encodec_32khz"))
    assert store.verify("encodec_32khz") == []
    assert [path.name for path in store.root.iterdir() if path.name.startswith("encodec")] == ["encodec_32khz"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": {"config.json": 1}}'])
def test_damaged_manifest_is_a_weights_error_and_repaired(released: Hub, store: WeightStore, content: bytes) -> None:
    list(fetch(store, "encodec_32khz"))
    (store.path("encodec_32khz") / MANIFEST).write_bytes(content)
    with pytest.raises(WeightsError, match=r"manifest\.json cannot be read"):
        store.component("encodec_32khz")
    assert len(store.verify("encodec_32khz")) == 1
    list(fetch(store, "encodec_32khz"))
    assert store.verify("encodec_32khz") == []


def test_file_of_another_length_is_not_loaded(released: Hub, store: WeightStore) -> None:
    list(fetch(store, "encodec_32khz"))
    file = store.path("encodec_32khz") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"damaged \(model\.safetensors is not whole\)"):
        store.component("encodec_32khz")


@pytest.mark.parametrize("status", [404, 500, 503])
def test_error_of_a_failing_hub_is_one_sentence(released: Hub, store: WeightStore, status: int) -> None:
    released.status["facebook/encodec_32khz"] = status
    with pytest.raises(WeightsError, match=rf"facebook/encodec_32khz could not be fetched \(.*{status}.*") as raised:
        list(fetch(store, "encodec_32khz"))
    assert "\n" not in str(raised.value)


def test_error_of_an_unreachable_hub_is_one_sentence(
    released: Hub, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="facebook/encodec_32khz could not be fetched"):
        list(fetch(store, "encodec_32khz"))


def test_error_names_a_repository_that_lacks_a_file(released: Hub, store: WeightStore) -> None:
    del released.repositories["facebook/encodec_32khz"]["model.safetensors"]
    with pytest.raises(WeightsError, match=r"facebook/encodec_32khz has no file model\.safetensors"):
        list(fetch(store, "encodec_32khz"))


def test_error_for_an_unknown_name_lists_the_known_ones(store: WeightStore) -> None:
    with pytest.raises(WeightsError, match=r"'tiny' is not a known checkpoint: use one of small, medium, .*htdemucs"):
        list(fetch(store, "tiny"))


def test_the_demo_is_not_fetched(store: WeightStore) -> None:
    assert list(fetch(store, "demo")) == ["demo: part of this repository"]


def test_new_revision_does_not_resume_an_old_download(codec_only: Hub, store: WeightStore) -> None:
    codec_only.break_at["model.safetensors"] = 70_000
    with pytest.raises(WeightsError):
        list(fetch(store, "encodec_32khz"))
    codec_only.recover()
    codec_only.repositories["facebook/encodec_32khz"]["model.safetensors"] = STATE[::-1]
    list(fetch(store, "encodec_32khz"))
    assert codec_only.asked[-1] == Asked("model.safetensors", 0)
    assert sorted(path.name for path in store.path("encodec_32khz").iterdir()) == [
        "config.json",
        MANIFEST,
        "model.safetensors",
    ]


def test_manifest_records_the_source(released: Hub, store: WeightStore) -> None:
    list(fetch(store, "encodec_32khz"))
    recorded = json.loads((store.path("encodec_32khz") / MANIFEST).read_text())
    assert recorded["source"] == "facebook/encodec_32khz"
    assert recorded["revision"] == stand_in.REVISION
    assert recorded["files"]["model.safetensors"]["sha256"] == manifest.sha256(
        store.path("encodec_32khz") / "model.safetensors"
    )


def test_interrupted_command_resumes_the_download(released: Hub, store: WeightStore) -> None:
    """Runs the command as an operator would, interrupts it by Ctrl-C, and runs it again."""
    released.repositories["facebook/encodec_32khz"]["model.safetensors"] = STATE
    released.stall_at["model.safetensors"] = 70_000
    command = [sys.executable, "-m", "musicgen_service", "weights", "fetch", "encodec_32khz"]
    environment = os.environ | {"HF_ENDPOINT": released.url, "MUSICGEN_WEIGHTS": str(store.root)}

    def enable_interrupts() -> None:
        # Processes that a shell starts in the background ignore Ctrl-C, and so do their children.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=enable_interrupts
    )
    assert released.stalled.wait(60)
    wait_until(lambda: any(path.stat().st_size > 50_000 for path in store.root.rglob("model*.unfinished")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("interrupted\n")
    assert "Traceback" not in errors
    assert not store.has("encodec_32khz")
    [unfinished] = store.root.rglob("model*.unfinished")
    received = unfinished.stat().st_size
    released.recover()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert released.asked == [Asked("model.safetensors", received)]
    assert store.verify("encodec_32khz") == []
