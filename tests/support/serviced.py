"""Requests carried out by a service in this process."""

from pathlib import Path
from typing import Any

import numpy as np

from musicgen_service.audio import reading
from musicgen_service.inputs.decoding import decode_files
from musicgen_service.requests.fields import FIELDS
from musicgen_service.service import MusicGenService


def made(service: MusicGenService, **inputs: Any) -> list[Path]:
    files, _ = service.generate(decode_files({"seed": 5, "duration": 1} | inputs, FIELDS))
    return files


def samples_of(path: Path) -> np.ndarray:
    return reading.read(path).samples
