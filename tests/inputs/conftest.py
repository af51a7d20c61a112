"""What tests of fetching share."""

from collections.abc import Iterator

import pytest

from tests.support.harness import http_server
from tests.support.website import Site


@pytest.fixture
def asked() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def site(asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    with http_server(type("Watched", (Site,), {"asked": asked})) as address:
        yield address
