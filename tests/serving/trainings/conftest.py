"""A gateway with trainings, in the place of that of all tests of the gateway, whose clients are its."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from replicate.client import Client

from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import SECRET
from tests.serving.training_gateway import training_gateway, weights_with_stand_in


@pytest.fixture(autouse=True)
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return weights_with_stand_in(tmp_path, monkeypatch)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with training_gateway(tmp_path / "results", webhook_secret=SECRET) as gateway:
        yield gateway


@pytest.fixture
def replicate(gateway: Gateway) -> Client:
    return Client(api_token="r8_anything", base_url=f"http://127.0.0.1:{gateway.address[1]}")
