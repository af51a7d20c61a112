"""Fixtures: a gateway before a fake Cog server, and clients."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.gateway_options import GatewayOptions
from musicgen_service.serving.models import Models
from tests.serving.supervised import SCRIPT
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import PROJECT, Server, serving, wait_until

MODELS = Models.load(None, {"acme/music": "meta/musicgen"})
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
SCHEMA = MODELS.own.schema or {}


def gateway_of(
    upstream_port: Callable[[], int | None],
    folder_problem: Callable[[], str | None] = lambda: None,
    port: int = 0,
    worker_socket: Callable[[], Path | None] = lambda: None,
    **options: Any,
) -> Gateway:
    """A gateway on a free port, by the names that tests have for it."""
    given: dict[str, Any] = {"models": MODELS, "access_log": False, "hosts": ("a", "music.test")} | options
    return Gateway(("127.0.0.1", port), upstream_port, folder_problem, GatewayOptions(**given), worker_socket)


@contextmanager
def running(gateway: Gateway) -> Iterator[Gateway]:
    """A gateway that answers for the length of the block."""
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.give_up()
        gateway.stop()


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Gateway, FakeCog]]:
    with fake_cog() as cog, running(gateway_of(lambda: cog.server_port, places=5, webhook_secret=SECRET)) as it:
        cog.audio_socket = it.audio_socket
        yield it, cog


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A supervisor with a fake Cog server, in processes of their own."""
    with serving(["-c", SCRIPT, "--port"], PROJECT, tmp_path / "temp") as running:
        yield running


@pytest.fixture
def gateway(served: tuple[Gateway, FakeCog]) -> Gateway:
    return served[0]


@pytest.fixture
def cog(served: tuple[Gateway, FakeCog]) -> Iterator[FakeCog]:
    gateway, cog = served
    cog.forget()
    yield cog
    cog.resume.set()
    wait_until(lambda: not gateway.unfinished)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with client_of(gateway) as client:
        yield client


@pytest.fixture
def stranger(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client with another address."""
    with client_of(gateway, "127.0.0.2") as client:
        yield client


@contextmanager
def client_of(gateway: Gateway, address: str = "127.0.0.1") -> Iterator[httpx.Client]:
    """A client that connects from an address of the loopback interface."""
    transport = httpx.HTTPTransport(local_address=address, verify=False)
    with httpx.Client(base_url=f"http://127.0.0.1:{gateway.address[1]}", timeout=60, transport=transport) as client:
        yield client
