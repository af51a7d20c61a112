"""Load test with mixed predictions from several clients: `python -m tests.e2e.soak [COUNT] [CLIENTS] [SEED]`.

They are waited for, polled, heard while they are made, given up and cancelled, with recordings in them or uploaded
before, by our own routes and those of the hosted platform, and their files are read in parts and converted; a fifth are
invalid. Beside them adapters are trained. Every reply is held to what its request must get, and the server to what it
may keep: no more memory after the first predictions, no thread, no file descriptor and no file beyond the finished
clips. During the last ones, the worker and Cog's server are killed: then a reply may also say that the service broke
down.
"""

import random
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import soundfile

from demo.synth import Synthesiser
from tests.e2e import soak_trainings
from tests.e2e.soak_ways import WAYS, Ask, BrokenError, answer, is_possible
from tests.support import checkpoints
from tests.support.harness import PROJECT, Server, data_uri, in_background, runs, serving, wait_until
from tests.support.sounds import RATE, tone

FORMATS = ("wav", "mp3", "flac", "ogg")
MODELS = ("small", "melody", "stereo-small", "stereo-melody")
WARM_UP = 50
"""Predictions after which memory should be stable, as every model has been loaded."""
GROWTH = 0.05
SONG = 1.0
"""Seconds of input audio."""
TRAINED = 6.0
"""Seconds of the song that adapters are trained on."""
KILL_AFTER = 3.0
"""Seconds of predictions before a kill."""
IDLE = 6
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
        figures = [(0, 0, 0)]
        for process in server.family():
            with suppress(psutil.NoSuchProcess):  # an encoder may end meanwhile
                figures.append((process.memory_info().rss, process.num_threads(), process.num_fds()))
        return cls(*map(sum, zip(*figures, strict=True)))


@dataclass
class Outcome:
    """Results of all predictions."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    early: Footprint | None = None
    late: Footprint | None = None
    last: Footprint | None = None
    """After the kills."""

    def problems(self) -> list[str]:
        """Every unexpected result."""
        found = list(self.wrong)
        for late in (self.late, self.last):
            if self.early is None or late is None:
                continue
            if late.memory > self.early.memory * (1 + GROWTH):
                found.append(f"memory grew from {self.early.memory >> 20} to {late.memory >> 20} MiB")
            if late.threads > self.early.threads + IDLE:
                found.append(f"threads grew from {self.early.threads} to {late.threads}")
            if late.descriptors > self.early.descriptors + IDLE:
                found.append(f"descriptors grew from {self.early.descriptors} to {late.descriptors}")
        return found


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
            inputs = {"prompt": "rock", "model_version": rng.choice(MODELS), "duration": 600}
            return Ask(inputs, "canceled", rng.choice(("cancel", "hang up")))
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
    way = rng.choice([way for way in WAYS if is_possible(way, task)])
    expected = "canceled" if way == "hang up" else "succeeded"
    if way == "hang up":
        inputs |= {"duration": 60} if task == "text" else {}
    return Ask(inputs, expected, way, seconds, 2 if "stereo" in model else 1)


def soak(
    server: Server, count: int, clients: int, seed: int, warm_up: int = WARM_UP, while_killed: int = 0, *, trains: bool
) -> Outcome:
    """Send all predictions, `clients` at a time, and check every response and the server.

    Parameters
    ----------
    server : a real one
    count : number of predictions
    clients : maximum number at a time
    seed : of the mix
    warm_up : number of the first ones, after which memory should be stable
    while_killed : number of the last ones, during which the worker and Cog's server are killed
    trains : whether adapters are trained after the first ones
    """
    outcome, lock = Outcome(), threading.Lock()
    todo = asks(count, _recording(tone(SONG)), seed)

    def tell(ask: Ask, *, may_break: bool = False) -> None:
        try:
            status, complaint = answer(server.client.base_url, f"soak-{uuid.uuid4()}", ask)
        except BrokenError:
            status, complaint = "broken", "" if may_break else "the service broke down"
        except Exception as error:
            status, complaint = "no reply", f"{ask.way}: {error!r}"
        with lock:
            outcome.counts[status] += 1
            if complaint:
                outcome.wrong.append(f"{complaint}: {str(ask.inputs)[:200]}")

    undisturbed = todo[: count - while_killed]
    for number, part in enumerate((undisturbed[:warm_up], undisturbed[warm_up:])):
        with ThreadPoolExecutor(clients + 1) as pool:
            training = pool.submit(_train, server) if trains and number else None
            list(pool.map(tell, part))
            outcome.wrong += training.result() if training else []
        wait_until(server.is_idle)
        outcome.early, outcome.late = outcome.early or Footprint.of(server), Footprint.of(server)
    if while_killed:
        with in_background(lambda: _kill(server)), ThreadPoolExecutor(clients) as pool:
            list(pool.map(partial(tell, may_break=True), todo[count - while_killed :]))
        wait_until(lambda: server.status() == "READY" and server.is_idle())
        outcome.last = Footprint.of(server)
    if sum(outcome.counts.values()) != count:
        outcome.wrong.append(f"{count} asked, {sum(outcome.counts.values())} answered")
    strange = [file for file in server.files() if not file.parent.name.startswith("request-")]
    if strange:
        outcome.wrong.append(f"files left behind: {strange[:5]}")
    return outcome


def _train(server: Server) -> list[str]:
    """Train adapters; returns what is wrong."""
    song = Synthesiser().song(1, TRAINED, bpm=120, drums=True).audio
    return soak_trainings.train(server.client.base_url, _recording(song))


def _recording(samples: np.ndarray) -> str:
    """A recording [channels, samples] or [samples] as a data URI."""
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.wav"
        soundfile.write(song, samples.T, RATE)
        return data_uri(song)


def _kill(server: Server) -> None:
    """Kill the worker, then Cog's server, each while predictions are running."""
    for who in ("worker", "server"):
        wait_until(lambda: server.status() in ("READY", "BUSY"))
        time.sleep(KILL_AFTER)
        worker = server.worker()
        victim = worker if who == "worker" else worker.parent()
        assert victim is not None
        victim.kill()
        wait_until(lambda worker=worker: not runs(worker.pid))  # type: ignore[misc]


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
            outcome = soak(server, count, clients, seed, while_killed=count // 5, trains=True)
    print(dict(outcome.counts), outcome.early, outcome.late, outcome.last, sep="\n")
    if problems := outcome.problems():
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
