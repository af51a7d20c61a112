"""Damaged, foreign and missing weights give an error of one sentence that says what to do."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from musicgen_service.models import loading
from musicgen_service.models.catalogue import DIFFUSION, HTDEMUCS, T5
from musicgen_service.models.store import WeightsError, WeightStore

CPU = torch.device("cpu")

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "a web page": lambda _: b"<html>Service Unavailable</html>",
    "half": lambda content: content[: len(content) // 2],
    "short": lambda content: content[:-100],
    "flipped": lambda content: content[:200] + bytes([content[200] ^ 255]) + content[201:],
    "a pickle": lambda _: pickle.dumps(print),
}


@pytest.mark.parametrize("file", ["state_dict.bin", "compression_state_dict.bin"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_checkpoint_is_a_weights_error(own: WeightStore, file: str, damage: Callable[[bytes], bytes]) -> None:
    path = own.path("small") / file
    path.write_bytes(damage(path.read_bytes()))
    _assert_weights_error(own)


CONTENT = {
    "no parts": {"a": 1},
    "a list": [1, 2],
    "a tensor": torch.ones(3),
    "no configuration": {"xp.cfg": None, "best_state": {}},
    "not YAML": {"xp.cfg": "a: [", "best_state": {}},
    "another configuration": {"xp.cfg": "a: 1", "best_state": {}},
}


@pytest.mark.parametrize("file", ["state_dict.bin", "compression_state_dict.bin"])
@pytest.mark.parametrize("content", CONTENT.values(), ids=list(CONTENT))
def test_unrelated_file_is_a_weights_error(own: WeightStore, file: str, content: object) -> None:
    torch.save(content, own.path("small") / file)
    _assert_weights_error(own)


@pytest.mark.parametrize("change", ["missing", "unknown", "another shape"])
def test_tensors_of_another_model_are_a_weights_error(own: WeightStore, change: str) -> None:
    path = own.path("small") / "state_dict.bin"
    package = torch.load(path, weights_only=True)
    state = package["best_state"]
    if change == "missing":
        del state["out_norm.weight"]
    elif change == "unknown":
        state["out_norm.other"] = torch.ones(64)
    else:
        # A tensor with one element would be broadcast.
        state["out_norm.weight"] = torch.ones(1)
    torch.save(package, path)
    with pytest.raises(WeightsError, match=r"its tensors are not those of its configuration: out_norm\."):
        loading.load_model(own.checkpoint("small"), CPU)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (file, damage)
        for file in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
        for damage in ("empty", "a web page", "half", "gone")
        if (file, damage) != ("tokenizer_config.json", "gone")  # older text encoders have none
    ],
)
def test_a_damaged_text_encoder_is_a_weights_error(own: WeightStore, file: str, damage: str) -> None:
    path = own.path(T5) / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    _assert_weights_error(own)


@pytest.mark.parametrize("name", [DIFFUSION, HTDEMUCS])
@pytest.mark.parametrize("damage", ["empty", "a web page", "half"])
def test_damaged_shared_parts_are_a_weights_error(weights: Path, own: WeightStore, name: str, damage: str) -> None:
    model = loading.load_model(own.checkpoint("small"), CPU)
    shutil.copytree(weights / name, own.path(name))
    path = max(own.path(name).iterdir(), key=lambda file: file.stat().st_size)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(WeightsError, match=f"'{name}' could not be loaded"):
        if name == DIFFUSION:
            loading.load_diffusion(model, own.component(DIFFUSION))
        else:
            loading.load_separator(own.component(HTDEMUCS))


@pytest.mark.parametrize("name", ["small", T5, DIFFUSION, HTDEMUCS])
def test_files_that_differ_from_their_manifest_are_not_loaded(weights: Path, own: WeightStore, name: str) -> None:
    if name in (DIFFUSION, HTDEMUCS):
        shutil.copytree(weights / name, own.path(name))
    own.write_manifest(name)
    path = max(own.path(name).iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"'{name}' is damaged \(the checksum of {path.name} differs"):
        if name == HTDEMUCS:
            loading.load_separator(own.component(HTDEMUCS))
        else:
            model = loading.load_model(own.checkpoint("small"), CPU)
            loading.load_diffusion(model, own.component(DIFFUSION))


@pytest.mark.parametrize("name", ["small", DIFFUSION, HTDEMUCS])
def test_error_for_missing_weights_names_the_fetch_command(weights: Path, tmp_path: Path, name: str) -> None:
    empty = WeightStore(tmp_path)
    with pytest.raises(WeightsError, match=rf"'{name}' is not in the weights folder: run `.* fetch {name}`"):
        if name == DIFFUSION:
            loading.load_diffusion(
                loading.load_model(WeightStore(weights).checkpoint("small"), CPU), empty.component(DIFFUSION)
            )
        elif name == HTDEMUCS:
            loading.load_separator(empty.component(HTDEMUCS))
        else:
            loading.load_model(empty.checkpoint(name), CPU)


def _assert_weights_error(store: WeightStore) -> None:
    with pytest.raises(WeightsError, match="weights fetch") as raised:
        loading.load_model(store.checkpoint("small"), CPU)
    assert "\n" not in str(raised.value)
