"""Fixtures for tests of training: a small quantiser, and an untrained text encoder."""

from pathlib import Path

import pytest

from demo.training import features, quantiser, text_encoder
from demo.training.quantiser import Quantiser
from demo.training.songs import codec_clips


@pytest.fixture(scope="session")
def teacher() -> Quantiser:
    frames = features.features(*codec_clips(0, 12, 4.0)).flatten(0, 1)
    return quantiser.fit(frames, iterations=3)


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    text_encoder.write_tokenizer(folder)
    text_encoder.write_encoder(folder)
    return folder
