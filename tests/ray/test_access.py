"""Who may use a cluster's gateway."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from pydantic import ValidationError
from ray import serve
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

from deploy import ray_serve
from deploy.ray_serve import Gateway
from musicgen_service.serving import api_keys

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("MUSICGEN_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield


def answer(address: str, *, is_insecure: bool = False) -> httpx.Response:
    """What a request gets that came to an address of a node."""
    gateway = Gateway(Mock(), is_insecure)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(gateway.__serve_build_asgi_app__())
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{address}") as client:
            return await client.get("/models")

    try:
        return asyncio.run(ask())
    finally:
        gateway._application._audio.remove()


def test_without_keys_only_the_node_itself_may_use_it() -> None:
    assert answer("127.0.0.1").status_code == 200
    refused = answer("192.0.2.1")
    assert refused.status_code == 403
    assert refused.json()["error"] == (
        "Without MUSICGEN_API_KEYS_FILE only this machine may use the service; `insecure: true` lets everybody in."
    )


def test_others_may_use_it_when_it_says_so() -> None:
    assert answer("192.0.2.1", is_insecure=True).status_code == 200


@pytest.mark.parametrize(
    ("args", "is_insecure"),
    [({}, False), ({"insecure": "false"}, False), ({"insecure": "true"}, True), ({"insecure": True}, True)],
)
def test_arguments_are_read_as_they_are_meant(
    args: dict[str, Any], is_insecure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Mock(return_value=Mock(spec=serve.Application))
    monkeypatch.setattr(ray_serve, "build", built)
    call_user_app_builder_with_args_if_necessary(ray_serve.app, args)
    assert built.call_args.kwargs == {"is_insecure": is_insecure}


@pytest.mark.parametrize("args", [{"insecure": "maybe"}, {"insecur": "true"}])
def test_other_arguments_are_refused(args: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        call_user_app_builder_with_args_if_necessary(ray_serve.app, args)


def test_a_replica_computes_on_the_cores_of_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    built: dict[str, Any] = {}
    monkeypatch.setattr(serve, "deployment", lambda **options: built.update(options) or Mock())
    monkeypatch.setattr(ray_serve, "cores", lambda: 6)
    ray_serve.app(ray_serve.Arguments())
    assert built["ray_actor_options"] == {"num_cpus": 6}


def test_with_keys_others_need_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api_keys.add(tmp_path / "keys", "ann")
    monkeypatch.setenv("MUSICGEN_API_KEYS_FILE", str(tmp_path / "keys"))
    assert answer("192.0.2.1").status_code == 401
