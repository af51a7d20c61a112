"""Fixtures for tests of fetching."""

from collections.abc import Iterator

import pytest

from tests.support.harness import http_server
from tests.support.website import Site


@pytest.fixture
def requests() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def site(requests: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    with http_server(type("Watched", (Site,), {"requests": requests})) as address:
        yield address
