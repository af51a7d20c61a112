"""Audio inputs of a batch as they are known before its requests are carried out: length and content, no samples."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_service.audio import reading
from musicgen_service.audio.reading import AudioInput, UnfetchedInput
from musicgen_service.inputs import fetching
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import Field

_RATE = 8_000
"""Samples per second of what is not fetched: every format of a clip has this rate."""


class AudioInputs:
    """Reads each audio file of a batch once."""

    def __init__(self) -> None:
        self._read: dict[Path, AudioInput] = {}

    def stand_ins(self, inputs: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
        """Replace files by silence of their length, which rules between inputs ask for.

        An address is not fetched before its turn: its length is not known, and no rule asks for it.

        Raises
        ------
        RequestError
            When a file or a data URI cannot be used as audio.
        """
        values = dict(inputs)
        for name, value in inputs.items():
            if name not in fields or fields[name].kind is not Path:
                continue
            try:
                if isinstance(value, Path):
                    values[name] = self._of_file(value)
                elif fetching.is_address(value):
                    values[name] = _of_address(value)
            except (reading.AudioError, fetching.SourceError) as error:
                raise RequestError([f"{name} cannot be used: {error}"]) from None
        return values

    def _of_file(self, path: Path) -> AudioInput:
        if path not in self._read:
            self._read[path] = _without_samples(reading.read_input(path))
        return self._read[path]


def _of_address(address: str) -> AudioInput:
    if address.lstrip()[:5].lower() == "data:":
        with tempfile.TemporaryDirectory(prefix="musicgen-input-") as folder:
            return _without_samples(reading.read_input(fetching.fetch(address, Path(folder))))
    return UnfetchedInput(np.zeros((1, 0), np.float32), _RATE, address, "")


def _without_samples(audio: AudioInput) -> AudioInput:
    # One sample in memory, whatever the length.
    return AudioInput(np.broadcast_to(np.float32(0), (1, audio.samples.shape[1])), audio.rate, audio.name, audio.sha256)
