"""Carries out a set of requests with the code in the current folder and prints checksums of the files.

`bench.same_outputs` runs it as a script, also with older versions of the code, so it imports nothing of this project
but the predictors.
"""

import asyncio
import importlib
import inspect
import json
import os
import sys
from collections.abc import Awaitable, Iterator
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path
from typing import Any

import soundfile

SONG = "song.wav"
"""Placeholder for the path of a recording of chords and drums."""
TEXT = {"prompt": "lofi piano with soft drums, 90 bpm, a minor", "model_version": "demo", "seed": 7}
LOOP = {"prompt": "house drums and bass", "model_version": "demo", "seed": 5, "task": "loop", "bpm": 120, "duration": 5}
REMIX = {"prompt": "jazz trio", "model_version": "demo", "seed": 3, "task": "remix", "input_audio": SONG}
CONTINUED = {"continuation": True, "input_audio": SONG, "duration": 7}

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("predict", TEXT | {"duration": 3}),
    *(("predict", TEXT | {"duration": 2, "output_format": kind}) for kind in ("mp3", "flac", "ogg")),
    *(("predict", TEXT | {"duration": 2, "normalization_strategy": kind}) for kind in ("clip", "peak", "rms")),
    ("predict", TEXT | {"duration": 2.3456, "variations": 3, "top_k": 50, "temperature": 0.7}),
    ("predict", TEXT | {"duration": 2, "top_p": 0.8, "classifier_free_guidance": 1, "bpm": 90}),
    ("predict", TEXT | {"duration": 24}),
    ("predict", TEXT | {"duration": 3, "input_audio": SONG}),
    ("predict", TEXT | {"duration": 22, "input_audio": SONG, "continuation_end": 4}),
    ("predict", {"model_version": "demo", "seed": 2, "input_audio": SONG, "duration": 2}),
    ("predict", TEXT | CONTINUED),
    ("predict", TEXT | CONTINUED | {"continuation_start": 1.25, "continuation_end": 3.5, "variations": 2}),
    ("predict", {"model_version": "demo", "seed": 2, "prompt": None} | CONTINUED),
    ("predict", LOOP),
    ("predict", LOOP | {"variations": 3, "normalization_strategy": "peak", "output_format": "flac"}),
    ("predict", REMIX | {"return_stems": True}),
    ("predict", REMIX | {"variations": 2, "chroma_coefficient": 1.5, "output_format": "mp3"}),
    ("predict", {"task": "encode-decode", "model_version": "demo", "seed": 1, "input_audio": SONG}),
    ("predict", {"model_version": "stereo-melody", "seed": 4, "input_audio": SONG, "duration": 2, "prompt": "rock"}),
    ("predict", {"model_version": "stereo-small", "seed": 4, "prompt": "rock", "duration": 32}),
    ("predict", {"model_version": "small", "seed": 4, "prompt": "jazz", "duration": 1, "multi_band_diffusion": True}),
    ("predict", {"model_version": "stereo-small", "seed": 4, "duration": 1, "multi_band_diffusion": True} | CONTINUED),
    ("compat.meta_musicgen", {"prompt": "rock song", "duration": 2, "seed": 9}),
    ("compat.meta_musicgen", {"prompt": "rock", "input_audio": SONG, "duration": 8, "continuation": True, "seed": 9}),
    ("compat.musicgen_custom", {"prompt": "fast jazz", "duration": 2, "seed": 9}),
    ("compat.musicgen_looper", {"prompt": "house drums", "bpm": 120, "variations": 2, "max_duration": 4, "seed": 9}),
    ("compat.m3maker", {"prompt": "lofi piano", "duration": 2, "seed": 9}),
    ("compat.m3maker", {"model_version": "encode-decode", "input_audio": SONG, "duration": 7, "seed": 9}),
    ("compat.musicgen_remixer", {"prompt": "jazz trio", "music_input": SONG, "seed": 9}),
]
"""The module of a predictor, and the inputs that differ from its defaults."""


def record(song: Path) -> None:
    """Carry the requests out with the code in the current folder; print checksums of the files as JSON."""
    sys.path.insert(0, str(Path.cwd()))
    checksums, predictors = {}, {}
    with redirect_stdout(sys.stderr):
        for module, inputs in REQUESTS:
            if module not in predictors:
                predictors[module] = importlib.import_module(module).Predictor()
                predictors[module].setup()
            arguments = {name: song if value == SONG else value for name, value in inputs.items()}
            checksums[f"{module} {json.dumps(inputs)}"] = _checksums(predictors[module], arguments)
    print(json.dumps(checksums))


def _checksums(predictor: Any, inputs: dict[str, Any]) -> list[str]:
    """SHA-256 of every file that a predictor returns, in order; or its error."""
    predictor.record_metric = lambda *_: None  # Cog records metrics only in its server
    defaults = {name: entry.default.default for name, entry in inspect.signature(predictor.run).parameters.items()}
    try:
        output = predictor.run(**defaults | inputs)
        if inspect.isawaitable(output):  # older versions return the output itself
            output = asyncio.run(_result(output))
    except Exception as error:
        return [f"{type(error).__qualname__}: {error}"]
    return [f"{path.name} {sha256(_content(path)).hexdigest()}" for path in _files(output)]


async def _result(output: Awaitable[Any]) -> Any:
    return await output


def _content(path: Path) -> bytes:
    """The bytes of a file; for Ogg, whose pages contain a random serial number, the samples and the comment."""
    if path.suffix != ".ogg":
        return path.read_bytes()
    with soundfile.SoundFile(path) as file:
        return bytes(file.read(dtype="int16").tobytes() + file.comment.encode())


def _files(output: Any) -> Iterator[Path]:
    if isinstance(output, os.PathLike):
        yield Path(output)
    else:
        for entry in output if isinstance(output, list) else vars(output).values():
            if entry is not None:
                yield Path(entry)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
