"""Who may use a cluster's gateway."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest

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


def test_with_keys_others_need_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api_keys.add(tmp_path / "keys", "ann")
    monkeypatch.setenv("MUSICGEN_API_KEYS_FILE", str(tmp_path / "keys"))
    assert answer("192.0.2.1").status_code == 401
