"""Profile of complete requests with the shipped checkpoint: the share of time of each part.

    python -m bench.request_profile

Requests run in this process. The stopwatch counts processor time, so other load on the machine does not matter. Time of
a nested part counts for that part only.
"""

import functools
import json
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from bench import machine
from musicgen_service.audio import encoding, loudness, reading
from musicgen_service.engine.slots import Slots
from musicgen_service.inputs.decoding import decode_files
from musicgen_service.models.chroma import Chroma
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.t5_encoder import T5Encoder
from musicgen_service.requests.fields import FIELDS
from musicgen_service.service import MusicGenService

import torch

PARTS: dict[str, list[tuple[Any, str]]] = {
    "reading audio": [(reading, "read_input"), (reading.Audio, "convert")],
    "codec: to tokens": [(MusicGenModel, "encode")],
    "text encoder": [(T5Encoder, "forward")],
    "chroma": [(Chroma, "forward")],
    "prefill": [(Slots, "admit"), (Slots, "prefill")],
    "steps": [(Slots, "step")],
    "codec: to sound": [(MusicGenModel, "decode")],
    "loudness": [(loudness, "normalise")],
    "file": [(encoding, "write")],
}
"""The functions of each part."""


class Stopwatch:
    """Seconds of processor time by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._nested_seconds = [0.0]

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time counts for `part`."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            self._nested_seconds.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.process_time() - started
                self.seconds[part] += spent - self._nested_seconds.pop()
                self._nested_seconds[-1] += spent

        return wrapper


def main() -> None:
    """Measure and print."""
    service = MusicGenService()
    service.setup(["demo"])
    base = {"prompt": "house synth with drums, 120 bpm", "model_version": "demo", "seed": 1}
    [melody], _ = service.generate(base | {"duration": 10})
    requests: dict[str, dict[str, Any]] = {
        "text, 10 s": {"duration": 10},
        "text, 60 s": {"duration": 60},
        "melody, 10 s": {"duration": 10, "input_audio": melody},
        "melody, 60 s": {"duration": 60, "input_audio": melody},
        "continuation, 60 s": {"duration": 60, "input_audio": melody, "continuation": True},
    }
    shares = {name: _profile(service, base | inputs) for name, inputs in requests.items()}
    print(f"demo; {machine.describe(torch.device('cpu'))}\npython -m bench.request_profile\n\n{_table(shares)}\n")
    print(json.dumps(shares))


def _profile(service: MusicGenService, inputs: dict[str, Any]) -> dict[str, float]:
    """Measure the share of each part and of the rest in the time of one request, and its seconds."""
    watch = Stopwatch()
    with ExitStack() as stack:
        for part, functions in PARTS.items():
            for owner, name in functions:
                stack.enter_context(patch.object(owner, name, watch.timed(part, getattr(owner, name))))
        started = time.process_time()
        service.generate(decode_files(inputs, FIELDS))
        seconds = time.process_time() - started
    shares = {part: watch.seconds[part] / seconds for part in PARTS}
    return shares | {"rest": 1 - sum(shares.values()), "seconds": seconds}


def _table(shares: dict[str, dict[str, float]]) -> str:
    lines = [f"{'':18}" + "".join(f"{name:>20}" for name in shares)]
    for part in [*PARTS, "rest"]:
        lines.append(f"{part:18}" + "".join(f"{found[part]:20.1%}" for found in shares.values()))
    lines.append(f"{'in all':18}" + "".join(f"{found['seconds']:18.2f} s" for found in shares.values()))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
