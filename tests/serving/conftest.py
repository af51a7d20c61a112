"""Fixtures: a proxy and its upstream server."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from musicgen_service.serving.proxy import Proxy
from tests.support.harness import http_server
from tests.support.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[type[Upstream]]:
    events = {"resume": threading.Event(), "disconnected": threading.Event()}
    kind: type[Upstream] = type("Watched", (Upstream,), {"requests": [], **events})
    yield kind
    kind.resume.set()


@pytest.fixture
def served(upstream: type[Upstream]) -> Iterator[Proxy]:
    with http_server(upstream) as address:
        server = Proxy(("127.0.0.1", 0), lambda: int(address.rpartition(":")[2]))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def client(served: Proxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{served.server_port}", timeout=60) as client:
        yield client
