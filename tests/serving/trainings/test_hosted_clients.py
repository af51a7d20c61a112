"""The hosted platform's own clients train, and run what was trained."""

import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from musicgen_service.models.adapters import Adapter, AdapterStore
from musicgen_service.serving import adapted_models
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.models import Find, Model, Models
from tests.serving.conftest import gateway_of, running
from tests.serving.test_hosted_clients_elsewhere import NEWEST, fetch, run
from tests.serving.training_gateway import FINE_TUNER, calls
from tests.support import fake_train, stand_in_adapters
from tests.support.fake_cog import fake_cog
from tests.support.harness import PROJECT, wait_until


def test_the_hosted_client_trains_by_version(replicate: Client, weights_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "songs.zip").write_bytes(b"songs")
    inputs = {"dataset_path": tmp_path / "songs.zip", "model_version": "demo", "epochs": 2, "drop_vocals": False}
    training = replicate.trainings.create(version=FINE_TUNER, input=inputs, destination="me/mine")
    assert training.model == "sakemin/musicgen-fine-tuner" and training.destination == "me/mine"
    assert training.status in ("starting", "processing") and training.input and training.input["epochs"] == 2

    def has_ended() -> bool:
        training.reload()
        return training.status == "succeeded"

    wait_until(has_ended)
    assert training.output is not None
    assert training.output["version"] == f"me/mine:{fake_train.SHA256}"
    assert training.output["weights"].endswith(f"/v1/trainings/{training.id}/mine.zip")
    assert training.output["adapter"]["name"] == "mine"
    assert training.logs and "training: 3 of 3, loss 2.0, held-out 2.1" in training.logs
    assert [found.id for found in replicate.trainings.list().results] == [training.id]
    [call] = calls(weights_folder)
    assert call["options"] == {"json": "", "name": "mine", "base": "demo", "steps": "200"} and call["read"] == ["songs"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node with npm")
def test_the_client_for_javascript_trains(gateway: Gateway, tmp_path: Path) -> None:
    folder = tmp_path / "javascript"
    shutil.copytree(PROJECT / "tests/data/javascript", folder)
    fetch("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
    run("node", "trainings.mjs", gateway=gateway, folder=folder)


@pytest.mark.slow
def test_the_newest_client_for_python_trains(gateway: Gateway, tmp_path: Path) -> None:
    fetch(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", "site", NEWEST, folder=tmp_path)
    script = PROJECT / "tests/data/newest_trainings.py"
    run(sys.executable, str(script), gateway=gateway, folder=tmp_path, PYTHONPATH=str(tmp_path / "site"))


def test_what_was_trained_is_a_model(weights_folder: Path) -> None:
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": [], "base_model_name_or_path": "demo"}
    with AdapterStore(weights_folder / "adapters").adding("mine", source="a test") as folder:
        (folder / "adapter_config.json").write_text(json.dumps(config))
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    threads, own, versions = set[str](), adapted_models.named, adapted_models.of_version

    def elsewhere(find: Find) -> Find:
        def found(name: str, served: Sequence[Model]) -> Model | None:
            threads.add(threading.current_thread().name)
            return find(name, served)

        return found

    models = Models.load(None, {}, elsewhere(own), elsewhere(versions))
    with fake_cog() as cog, running(gateway_of(lambda: cog.server_port, models=models)) as gateway:
        replicate = Client(api_token="none", base_url=f"http://127.0.0.1:{gateway.address[1]}")
        for reference in (f"me/mine:{sha256}", "me/mine"):
            output: Any = replicate.run(reference, input={"prompt": "rock"})
            assert json.loads(output.read()) == {"replicate_weights": "mine", "prompt": "rock"}
        assert {request["context"]["system"] for request in cog.requests} == {"musicgen_fine_tuner"}
        version = replicate.models.get("me/mine").latest_version
        assert version is not None and version.id == sha256
        with pytest.raises(ReplicateError, match="There is no model 'me/other' here"):
            replicate.run("me/other", input={"prompt": "rock"})
        with pytest.raises(ReplicateError, match="There is no model 'me/other' here"):
            replicate.deployments.get("me/other")
    assert threads and "http" not in threads  # that of all requests


def test_an_adapter_is_found_by_its_name_alone(weights_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        stand_in_adapters.add(weights_folder, name)
    get, read = AdapterStore.get, list[str]()

    def noted(store: AdapterStore, name: str) -> Adapter:
        read.append(name)
        return get(store, name)

    monkeypatch.setattr(AdapterStore, "get", noted)
    Models.load(None, {}, adapted_models.named, adapted_models.of_version).named("me/two")
    assert read == ["two"]
