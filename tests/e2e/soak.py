"""Load test with mixed predictions from several clients: `python -m tests.e2e.soak [COUNT] [CLIENTS] [SEED]`.

A fifth of them are invalid and a tenth are cancelled. Every reply is held to what its request must get, and the server
to what it may keep: no more memory after the first predictions, no thread, no file descriptor and no file beyond the
finished clips.
"""

import random
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import soundfile

from tests.support import checkpoints
from tests.support.harness import PROJECT, TIMEOUT, Clip, Server, data_uri, serving, wait_until
from tests.support.sounds import RATE, tone

FORMATS = ("wav", "mp3", "flac", "ogg")
MODELS = ("small", "melody", "stereo-small", "stereo-melody")
WARM_UP = 50
"""Predictions after which memory should be stable, as every model has been loaded."""
GROWTH = 0.05
SONG = 1.0
"""Seconds of input audio."""
IDLE = 4
"""Threads and connections that come and go with the load; a leak is one for each prediction."""


@dataclass
class Footprint:
    """Resources of a server and its children."""

    memory: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, server: Server) -> "Footprint":
        """Measure an idle server."""
        family = [psutil.Process(server.process.pid)]
        family += family[0].children(recursive=True)
        return cls(
            sum(process.memory_info().rss for process in family),
            sum(process.num_threads() for process in family),
            sum(process.num_fds() for process in family),
        )


@dataclass
class Outcome:
    """Results of all predictions."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    early: Footprint | None = None
    late: Footprint | None = None

    def problems(self) -> list[str]:
        """Every unexpected result."""
        found = list(self.wrong)
        if self.early and self.late:
            if self.late.memory > self.early.memory * (1 + GROWTH):
                found.append(f"memory grew from {self.early.memory >> 20} to {self.late.memory >> 20} MiB")
            if self.late.threads > self.early.threads + IDLE:
                found.append(f"threads grew from {self.early.threads} to {self.late.threads}")
            if self.late.descriptors > self.early.descriptors + IDLE:
                found.append(f"descriptors grew from {self.early.descriptors} to {self.late.descriptors}")
        return found


@dataclass(frozen=True)
class Ask:
    """One prediction: its inputs and the expected result."""

    inputs: dict[str, Any]
    expected: str
    """succeeded, invalid (422), failed, or canceled."""
    seconds: float | None = None
    channels: int | None = None


def asks(count: int, song: str, seed: int) -> list[Ask]:
    """A mix of every task, model, size and format, a fifth invalid, a tenth cancelled."""
    rng = random.Random(seed)
    return [_ask(rng, number, song) for number in range(count)]


def _ask(rng: random.Random, number: int, song: str) -> Ask:
    match number % 10:
        case 3:
            wrong = rng.choice(({"duration": 0}, {"top_k": "many"}, {"model_version": "tiny"}, {"output_format": "x"}))
            return Ask({"prompt": "rock"} | wrong, "invalid")
        case 6:
            wrong = rng.choice(
                (
                    {"input_audio": "/etc/passwd"},
                    {"input_audio": "data:audio/wav;base64,bm8gYXVkaW8="},
                    {"input_audio": "http://nowhere.invalid/song.wav"},
                    {"model_version": "large"},
                    {"prompt": " "},
                )
            )
            return Ask({"prompt": "rock", "model_version": "small"} | wrong, "failed")
        case 9:
            return Ask({"prompt": "rock", "model_version": rng.choice(MODELS), "duration": 600}, "canceled")
    task = rng.choice(("text", "melody", "continuation", "encode-decode", "loop", "remix"))
    able = [model for model in MODELS if "melody" in model] if task in ("melody", "remix") else MODELS
    model = rng.choice(able)
    seconds = {"loop": 2.0, "remix": SONG, "encode-decode": SONG}.get(task, round(rng.uniform(1.1, 3), 2))
    inputs = {
        "task": task,
        "model_version": model,
        "output_format": rng.choice(FORMATS),
        "duration": seconds,
        "seed": number + 1,
        # A loop's variation may fail and leave the others, and a remix takes long.
        "variations": 1 if task in ("loop", "remix") else rng.choice((1, 1, 1, 3)),
    }
    inputs |= {"prompt": "rock"} if task in ("text", "loop") else {"input_audio": song}
    inputs |= {"bpm": 120} if task == "loop" else {}
    return Ask(inputs, "succeeded", seconds, 2 if "stereo" in model else 1)


def soak(server: Server, count: int, clients: int, seed: int, warm_up: int = WARM_UP) -> Outcome:
    """Send all predictions, `clients` at a time, and check every response and the server."""
    outcome, lock = Outcome(), threading.Lock()
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.wav"
        soundfile.write(song, tone(SONG).T, RATE)
        todo = asks(count, data_uri(song), seed)

    def tell(ask: Ask) -> None:
        status, complaint = _answer(server, ask)
        with lock:
            outcome.counts[status] += 1
            if complaint:
                outcome.wrong.append(f"{complaint}: {str(ask.inputs)[:200]}")

    for part in (todo[:warm_up], todo[warm_up:]):
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(tell, part))
        wait_until(server.is_idle)
        outcome.early, outcome.late = outcome.early or Footprint.of(server), Footprint.of(server)
    if sum(outcome.counts.values()) != count:
        outcome.wrong.append(f"{count} asked, {sum(outcome.counts.values())} answered")
    strange = [file for file in server.files() if not file.parent.name.startswith("request-")]
    if strange:
        outcome.wrong.append(f"files left behind: {strange[:5]}")
    return outcome


def _answer(server: Server, ask: Ask) -> tuple[str, str]:
    """Send a prediction; returns its status, and a problem if the response is wrong."""
    name = f"soak-{uuid.uuid4()}"
    with httpx.Client(base_url=server.client.base_url, timeout=10 * TIMEOUT) as client:
        cancel = threading.Thread(target=_cancel, args=(server, name)) if ask.expected == "canceled" else None
        if cancel:
            cancel.start()
        response = client.post("/predictions", json={"id": name, "input": ask.inputs})
        if cancel:
            cancel.join()
    status = "invalid" if response.status_code == 422 else str(response.json().get("status"))
    if status != ask.expected:
        return status, f"{status} ({response.text[:200]}) in place of {ask.expected}"
    return status, "" if status != "succeeded" else _fault(response.json(), name, ask)


def _cancel(server: Server, name: str) -> None:
    # Not found until it has been taken up.
    with httpx.Client(base_url=server.client.base_url, timeout=TIMEOUT) as client:
        while client.post(f"/predictions/{name}/cancel").status_code == 404:
            time.sleep(0.02)


def _fault(reply: dict[str, Any], name: str, ask: Ask) -> str:
    clips = [Clip.from_uri(uri) for uri in reply["output"]]
    if reply["id"] != name or reply["metrics"]["seed"] != ask.inputs["seed"] or len(clips) != ask.inputs["variations"]:
        return "a reply to something else"
    for clip in clips:
        if clip.channels != ask.channels or abs(len(clip.samples) / clip.rate - (ask.seconds or 0)) > 0.05:
            return f"{clip.channels} channels, {len(clip.samples) / clip.rate:.2f} s"
        if not np.isfinite(clip.samples).all():
            return "samples that are not numbers"
    return ""


def main() -> None:
    """Parse the command line and run; exits with 1 on a problem."""
    numbers = [int(word) for word in sys.argv[1:]]
    count, clients, seed = [*numbers, *(500, 16, 0)[len(numbers) :]]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        weights.mkdir()
        for name in MODELS:
            checkpoints.build_checkpoint(weights, name, stereo="stereo" in name, melody="melody" in name)
        checkpoints.build_separator(weights)
        command = ["-m", "musicgen_service", "serve", "--port"]
        settings = {"MUSICGEN_WEIGHTS": str(weights), "MUSICGEN_MODELS": "small"}
        with serving(command, PROJECT, Path(folder) / "temp", **settings) as server:
            outcome = soak(server, count, clients, seed)
    print(dict(outcome.counts), outcome.early, outcome.late, sep="\n")
    if problems := outcome.problems():
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
