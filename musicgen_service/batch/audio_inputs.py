"""Audio inputs of a batch as they are known before its requests are carried out: length and content, no samples."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_service.audio import reading
from musicgen_service.audio.reading import AudioInput
from musicgen_service.inputs import fetching
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import Field

_RATE = 8_000
_SHORTEST = 0.01


class AudioInputs:
    """Reads each audio file of a batch once."""

    def __init__(self) -> None:
        self._read: dict[Path, AudioInput] = {}

    def stand_ins(self, inputs: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
        """Replace files by silence of their length, which rules between inputs ask for.

        An address is not fetched before its turn: it is as long as the shortest audio that the other inputs allow, so
        that only what is wrong with any audio is a problem.

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
                    values[name] = _of_address(value, inputs.get("continuation_start"))
            except (reading.AudioError, fetching.SourceError) as error:
                raise RequestError([f"{name} cannot be used: {error}"]) from None
        return values

    def _of_file(self, path: Path) -> AudioInput:
        if path not in self._read:
            self._read[path] = _without_samples(reading.read_input(path))
        return self._read[path]


def _of_address(address: str, start: Any) -> AudioInput:
    if address.lstrip()[:5].lower() == "data:":
        with tempfile.TemporaryDirectory(prefix="musicgen-input-") as folder:
            return _without_samples(reading.read_input(fetching.fetch(address, Path(folder))))
    from_start = start if isinstance(start, (int, float)) and 0 <= start <= 1000 else 0.0
    return _silence(from_start + _SHORTEST, _RATE, address, "")


def _without_samples(audio: AudioInput) -> AudioInput:
    return _silence(audio.seconds, audio.rate, audio.name, audio.sha256)


def _silence(seconds: float, rate: int, name: str, sha256: str) -> AudioInput:
    # One sample in memory, whatever the length.
    return AudioInput(np.broadcast_to(np.float32(0), (1, round(seconds * rate))), rate, name, sha256)
