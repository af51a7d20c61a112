"""Fixtures for tests of requests."""

import pytest

from musicgen_service.audio.reading import AudioInput
from tests.support.sounds import recording


@pytest.fixture
def song() -> AudioInput:
    """Three seconds of a chord."""
    return recording(3, 8000)
